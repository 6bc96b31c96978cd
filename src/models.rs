//! The process models, and the steps that each of them runs.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares an enum whose values have a title; JSON spells them in kebab-case.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $title:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name { $(#[doc = $title] $variant,)+ }

        impl $name {
            /// All values, in order.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The title, for people.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

named! {
    /// The order of processes, threads and NSS calls in a client.
    Model {
        FreshProcess = "a fresh process";
        SameThread = "a second time in the same thread";
        AnotherThread = "another thread";
        ForkBeforeInit = "fork, then initialise in each process";
        ForkAfterInit = "initialise, then fork";
        ForkAfterLogin = "initialise and log in, then fork";
        ForkShutdownInit = "fork, then shut down and initialise in the child";
        ForkRestartModules = "fork, then restart the modules in the child";
        ForkFromThread = "fork from a second thread";
        ForkWhileBusy = "fork while other threads use NSS";
        DoubleTls = "a child for the outer session, the parent for the inner session";
    }
}

named! {
    /// A step of a client with NSS.
    Step {
        Init = "init";
        Login = "login";
        FindCertificate = "certificate";
        FindKey = "key";
        Sign = "sign";
        Random = "random";
        OuterHandshake = "outer handshake";
        InnerHandshake = "inner handshake";
        ParentAgain = "parent again";
    }
}
