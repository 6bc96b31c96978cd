//! The files for systemd, Kubernetes, Grafana and the textfile collector, verified with the tools that read them.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::yaml::{self, tool};
use common::{Case, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The documents of a shipped YAML file.
fn yaml(name: &str) -> Vec<Value> {
    yaml::documents(&shipped(name))
}

/// Every value under this key, at any depth.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key));
            map.values().for_each(|inner| all(inner, key, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| all(inner, key, found)),
        _ => {}
    }
}

/// The requirements of the restricted pod security standard, and no probe of a port.
fn is_restricted(pod: &Value) {
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(pod.get("hostNetwork").is_none() && pod.get("hostPID").is_none() && pod.get("hostIPC").is_none());
    let context = &pod["securityContext"];
    assert_eq!(
        (&context["runAsNonRoot"], &context["seccompProfile"]["type"]),
        (&true.into(), &"RuntimeDefault".into())
    );
    assert!(context["runAsUser"].as_u64().unwrap() > 0);
    let volumes: BTreeSet<&str> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    for volume in pod["volumes"].as_array().unwrap() {
        let kinds = ["configMap", "secret", "emptyDir"];
        assert!(kinds.iter().any(|kind| volume.get(kind).is_some()), "{volume}");
        if volume.get("secret").is_some() {
            // 0440 in octal; YAML 1.1 and 1.2 read other notations differently.
            assert_eq!(volume["secret"]["defaultMode"], 0o440);
        }
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
        assert!(container["resources"]["limits"]["memory"].is_string());
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            if let Some(probe) = container.get(probe) {
                assert!(probe["exec"]["command"].is_array(), "{probe}");
                for other in ["tcpSocket", "httpGet", "grpc"] {
                    assert!(probe.get(other).is_none(), "{probe}");
                }
            }
        }
        let mounted: BTreeSet<&str> =
            container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["name"].as_str().unwrap()).collect();
        assert_eq!(mounted, volumes);
    }
}

#[test]
fn the_manifests_are_restricted_and_probe_by_command_only() {
    let mut kinds = BTreeSet::new();
    for document in yaml("kubernetes/deployment.yaml").iter().chain(&yaml("kubernetes/cronjob.yaml")) {
        let kind = document["kind"].as_str().unwrap();
        kinds.insert(kind.to_owned());
        assert!(document["apiVersion"].is_string() && document["metadata"]["name"].is_string());
        let template = match kind {
            "Deployment" => {
                let labels = &document["spec"]["template"]["metadata"]["labels"];
                assert_eq!(&document["spec"]["selector"]["matchLabels"], labels);
                assert_eq!(
                    (&document["spec"]["replicas"], &document["spec"]["strategy"]["type"]),
                    (&1.into(), &"Recreate".into())
                );
                let container = &document["spec"]["template"]["spec"]["containers"][0];
                assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
                &document["spec"]["template"]["spec"]
            }
            "CronJob" => {
                assert_eq!(document["spec"]["concurrencyPolicy"], "Forbid");
                let job = &document["spec"]["jobTemplate"]["spec"];
                assert_eq!(
                    (&job["backoffLimit"], &job["template"]["spec"]["restartPolicy"]),
                    (&0.into(), &"Never".into())
                );
                &job["template"]["spec"]
            }
            _ => continue,
        };
        is_restricted(template);
        // This nssight accepts the command lines.
        let (mut commands, container) = (Vec::new(), &template["containers"][0]);
        let words = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        commands.push([words(&container["command"]), words(&container["args"])].concat());
        let mut probes = Vec::new();
        all(container, "exec", &mut probes);
        commands.extend(probes.iter().map(|probe| words(&probe["command"])));
        commands.iter().for_each(|command| is_taken(command));
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["CronJob", "Deployment", "NetworkPolicy", "Service"]);
}

#[test]
fn the_kustomization_is_whole_and_its_monitors_find_the_service_and_the_targets() {
    let [kustomization] = yaml("kubernetes/kustomization.yaml").try_into().unwrap();
    assert_eq!(
        (&kustomization["apiVersion"], &kustomization["kind"]),
        (&"kustomize.config.k8s.io/v1beta1".into(), &"Kustomization".into())
    );
    let files = kustomization["resources"].as_array().unwrap().iter().map(|file| file.as_str().unwrap());
    let all: Vec<Value> = files.flat_map(|file| yaml(&format!("kubernetes/{file}"))).collect();
    let named: BTreeSet<(&str, &str)> =
        all.iter().map(|it| (it["kind"].as_str().unwrap(), it["metadata"]["name"].as_str().unwrap())).collect();
    assert_eq!(named.len(), all.len(), "two of one kind and name: {named:?}");
    let of = |kind: &str| all.iter().find(|it| it["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let (service, monitor, scrape) = (of("Service"), of("ServiceMonitor"), of("ScrapeConfig"));
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let job = monitor["spec"]["jobLabel"].as_str().unwrap();
    assert_eq!(service["metadata"]["labels"][job], "nssight-exporter", "the alerts go by the job's name");
    // The exporter answers requests for the name under which Prometheus reaches the service.
    let host = format!("nssight-exporter.{}.svc", kustomization["namespace"].as_str().unwrap());
    let authority = format!("{host}:{}", service["spec"]["ports"][0]["port"]);
    assert_eq!(scrape["spec"]["httpSDConfigs"][0]["url"], format!("http://{authority}/sd"));
    let arguments = &of("Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.as_array().unwrap().contains(&format!("--allow-host={host}").into()), "{arguments}");
    // The same as in the configuration for a Prometheus without an operator, which promtool has accepted.
    let [prometheus] = yaml("prometheus/prometheus.yml").try_into().unwrap();
    let plain = &prometheus["scrape_configs"][0];
    assert_eq!(scrape["spec"]["metricsPath"], plain["metrics_path"]);
    let own = scrape["spec"]["relabelings"].as_array().unwrap();
    assert_eq!(own[0], serde_json::json!({ "targetLabel": "job", "replacement": plain["job_name"] }));
    let expected = plain["relabel_configs"].to_string().replace("source_labels", "sourceLabels");
    let expected = expected.replace("target_label", "targetLabel").replace("127.0.0.1:9744", &authority);
    assert_eq!(own[1..], serde_json::from_str::<Vec<Value>>(&expected).unwrap());
}

/// A command line whose only failure is a missing file or port.
fn is_taken(words: &[String]) {
    assert_eq!(words[0], "nssight");
    let mut command = common::binary();
    command.args(&words[1..]);
    let run = run(&mut command);
    let asked = words.contains(&"--healthcheck".to_owned());
    assert_eq!(run.code, Some(if asked { 1 } else { 2 }), "{words:?}: {run:#?}");
    let expected = if asked { "no exporter answers" } else { "targets.toml: No such file" };
    assert!(run.stderr.contains(expected), "{words:?}: {run:#?}");
}

#[test]
fn the_units_are_well_formed_hardened_and_start_existing_commands() {
    let case = Case::new();
    let units: Vec<PathBuf> = fs::read_dir(shipped("systemd")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(units.len(), 5);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for unit in &units {
        let text = fs::read_to_string(unit).unwrap();
        let text = text.replace("/usr/bin/nssight", env!("CARGO_BIN_EXE_nssight"));
        let text = text.replace("/usr/lib/nssight/", &format!("{}/", shipped("textfile").display()));
        let name = unit.file_name().unwrap().to_str().unwrap();
        verify.arg(case.file(name, &text));
        if name.ends_with(".service") {
            let mut security = Command::new("systemd-analyze");
            security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(unit);
            let output = tool(&mut security, "");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{name} is exposed more than 2.0: {said}");
            for line in [
                "NoNewPrivileges=yes",
                "ProtectSystem=strict",
                "CapabilityBoundingSet=\n",
                "DynamicUser=yes",
                "LimitCORE=0",
            ] {
                assert!(text.contains(line), "{name} has no {line}");
            }
            let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
            if let Some(options) = start.strip_prefix(&format!("{} ", env!("CARGO_BIN_EXE_nssight"))) {
                let options = options.replace("${STATE_DIRECTORY}", case.path("state").to_str().unwrap());
                let words = ["nssight"].into_iter().chain(options.split(' ')).map(str::to_owned);
                is_taken(&words.collect::<Vec<_>>());
            }
        }
    }
    let output = tool(&mut verify, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_dashboard_can_be_imported() {
    let text = fs::read_to_string(shipped("grafana/nssight.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(
        dashboard["title"].is_string()
            && dashboard["uid"].is_string()
            && dashboard["schemaVersion"].as_u64().unwrap() >= 36
    );
    assert!(dashboard.get("id").is_none_or(Value::is_null), "an id belongs to one Grafana");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "target", "exporter"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let numbers: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), panels.len());
    let mut sources = Vec::new();
    all(&dashboard, "datasource", &mut sources);
    assert!(sources.iter().all(|source| source["uid"] == "${datasource}"), "{sources:?}");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["targets"].as_array().unwrap().is_empty());
        }
    }
    // From the panels of a target to its report.
    let mut urls = Vec::new();
    all(&dashboard, "url", &mut urls);
    let of_reports = |field: &str| format!("${{exporter}}/report?target=${{{field}:percentencode}}");
    let expected = ["__value.text", "__field.labels.instance", "__field.labels.instance", "__field.labels.instance"];
    let expected: Vec<String> = ["${exporter}/".to_owned()].into_iter().chain(expected.map(of_reports)).collect();
    assert_eq!(urls.len(), expected.len(), "{urls:?}");
    assert!(expected.iter().all(|url| urls.contains(&&Value::from(url.as_str()))), "{urls:?}");
    // Prometheus itself reads every expression, with the variables as Grafana would fill them in.
    let mut expressions = Vec::new();
    all(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10);
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            let text = expression
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "5m")
                .replace("$job", ".*")
                .replace("$target", ".*");
            assert!(!text.contains('$'), "{text}");
            serde_json::json!({ "record": format!("panel:{number}"), "expr": text })
        })
        .collect();
    let case = Case::new();
    // JSON is YAML.
    let rules = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let file = case.file("dashboard.rules.yml", rules.to_string());
    let output = tool(Command::new("promtool").args(["check", "rules"]).arg(file), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()));
}

#[test]
fn the_textfile_recipe_writes_whole_files_or_none() {
    let case = Case::new();
    let lab_directory = case.path("lab");
    fs::create_dir(&lab_directory).unwrap();
    let _lab = Deployment::start(&lab_directory, &Change::default(), DbFormat::Sql).unwrap();
    let text = "[[target]]\nname = \"well\"\nconfig = \"lab/client.conf\"\n[[target]]\nname = \"missing\"\nconfig = \"missing.conf\"\n";
    let targets = case.file("targets.toml", text);
    let directory = case.path("collector");
    fs::create_dir(&directory).unwrap();
    let out = directory.join("nssight.prom");
    let recipe = |targets: &Path| {
        let mut command = Command::new(shipped("textfile/nssight-textfile"));
        command.env("NSSIGHT", env!("CARGO_BIN_EXE_nssight")).arg(targets).arg(&out);
        tool(&mut command, "")
    };
    // A failing target is a result.
    let first = recipe(&targets);
    assert!(first.status.success(), "{first:?}");
    let written = fs::read_to_string(&out).unwrap();
    assert!(
        written.contains("probe_success{target=\"well\"} 1") && written.contains("probe_success{target=\"missing\"} 0"),
        "{written}"
    );
    let checked = tool(Command::new("promtool").args(["check", "metrics"]), &written);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Without a result the file is removed, and nothing else is left.
    let broken = case.file("broken.toml", "[[target]]\nname = 7\n");
    assert_eq!(recipe(&broken).status.code(), Some(2));
    assert_eq!(fs::read_to_string(&out).unwrap(), written);
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["nssight.prom"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644, "the collector reads it as somebody else");
}
