//! A table of faults: each row a name, the verdict it must get, and what is wrong.

/// Makes a test of every row. The row's code sets the fault up, runs nssight, and gives the [`super::Run`].
#[macro_export]
macro_rules! faults {
    ($($name:ident: $layer:literal, $cause:literal => |$case:ident| $body:block)+) => {
        $(#[test]
        fn $name() {
            let $case = $crate::common::Case::new();
            let run: $crate::common::Run = $body;
            assert_eq!(run.verdict(), ($layer.to_owned(), $cause.to_owned()), "{run:#?}");
            assert_eq!(run.code, Some(1), "{run:#?}");
        })+
    };
}
