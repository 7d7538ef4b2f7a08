//! Which source wins, what is printed, and what mistakes are called.

use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, file).unwrap();
    let lookup = |name: &str| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
    };
    Config::load(&Flags { config: Some(path), ..flags }, &lookup)
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "log_namespaces = [\"file\"]\nrun_id = \"file\"\nprobe_for = \"5s\"\n";
    let environment =
        [("DIAGNOSTIC_CONTAINERLOGS_LIST", "\"env other\""), ("DIAGNOSTIC_RUN_ID", "env")];
    let flags = Flags { run_id: Some("flag".to_owned()), ..Flags::default() };
    let config = load(file, &environment, flags).unwrap();
    assert_eq!(config.run_id.value.as_deref(), Some("flag"));
    assert_eq!(config.run_id.origin, Origin::Flag("--run-id"));
    assert_eq!(config.log_namespaces.value, ["env", "other"]);
    assert_eq!(config.log_namespaces.origin, Origin::Environment("DIAGNOSTIC_CONTAINERLOGS_LIST"));
    assert_eq!(config.probe_for.value, Duration::from_secs(5));
    assert_eq!(config.probe_for.origin, Origin::File);
    assert_eq!(config.units.origin, Origin::Default);
}

#[test]
fn what_is_printed_says_the_same_again() {
    let file = "probe_for = \"90s\"\nproxy = \"http://me:hunter22@proxy:8080\"\n\
                [[probe]]\nname = \"a\"\nkind = \"custom\"\nurl = \"tcp://127.0.0.1:1\"\n";
    let config = load(file, &[], Flags::default()).unwrap();
    let printed = config.to_toml();
    insta::assert_snapshot!(printed);
    assert!(!printed.contains("hunter22"));
    let again = load(&printed, &[], Flags::default()).unwrap();
    assert_eq!(again.probe_for.value, config.probe_for.value);
    assert_eq!(again.probes.value, config.probes.value);
}

#[test]
fn mistakes_name_the_place() {
    let error = |file: &str| {
        let error = load(file, &[], Flags::default()).expect_err(file);
        format!("{error:#}")
    };
    let unknown = error("probe_for = \"5s\"\nnamespace = \"x\"\n");
    assert!(unknown.contains("agent.toml") && unknown.contains("line 2"), "{unknown}");
    assert!(unknown.contains("namespace"), "{unknown}");
    assert!(error("probe_for = \"soon\"").contains("probe_for"));
    assert!(error("only = [\"coffee\"]").contains("hint: one of container-logs"));
    assert!(error("run_id = \"../up\"").contains("run id"));
}

/// A configuration with files mounted as a cluster does: ConfigMap and Secret.
fn load_mounted(
    mounted: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in mounted {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let flags = Flags {
        config_mount: Some(folder.path().join("config")),
        secret_mount: Some(folder.path().join("secret")),
        ..Flags::default()
    };
    let config = load("", environment, flags).unwrap();
    (folder, config)
}

#[test]
fn a_mounted_file_beats_the_environment_of_the_same_name() {
    let (folder, config) = load_mounted(
        &[
            ("config/DIAGNOSTIC_RUN_ID", "2026-11-22T12-28-03Z\n"),
            ("config/DIAGNOSTIC_CONTAINERLOGS_LIST", "kube-system shop/frontend-\n"),
            (
                "config/DIAGNOSTIC_NODELOGS_LIST_LINUX",
                "\"/var/log/azure/cluster-provision.log /var/log/cloud-init.log\"\n",
            ),
            (
                "config/DIAGNOSTIC_KUBEOBJECTS_LIST",
                "kube-system/pod kube-system/service shop/deployments.apps/front",
            ),
            ("config/COLLECTOR_LIST", "connectedCluster OSM"),
            ("config/AZURE_BLOB_ACCOUNT_NAME", "wrong folder"),
        ],
        &[("DIAGNOSTIC_RUN_ID", "from-environment"), ("AZURE_BLOB_ACCOUNT_NAME", "account")],
    );
    assert_eq!(config.run_id.value.as_deref(), Some("2026-11-22T12-28-03Z"));
    let path = folder.path().join("config/DIAGNOSTIC_RUN_ID");
    assert_eq!(config.run_id.origin, Origin::Mounted(path.clone()));
    assert_eq!(config.log_namespaces.value, ["kube-system", "shop/frontend-"]);
    assert_eq!(
        config.provision_logs.value,
        ["/var/log/azure/cluster-provision.log", "/var/log/cloud-init.log"]
    );
    assert_eq!(config.object_namespaces.value, ["kube-system", "shop"]);
    assert!(!config.selects("iptables") && config.selects("container-logs"));
    assert_eq!(config.run.blob.account.value.as_deref(), Some("account"));

    std::fs::write(&path, "next").unwrap();
    assert_eq!(config.asked_run_id().unwrap().as_deref(), Some("next"));
    std::fs::write(&path, "../up").unwrap();
    assert!(config.asked_run_id().unwrap_err().to_string().contains("run id"));
    std::fs::write(&path, " \n").unwrap();
    assert_eq!(config.asked_run_id().unwrap(), None);
}

#[test]
fn names_of_the_first_generation_are_read() {
    let (_folder, config) = load_mounted(
        &[],
        &[
            ("DIAGNOSTIC_CONTAINERLOGS_NAMESPACES", "'a'\n'b'"),
            ("DIAGNOSTIC_KUBEOBJECTS_NAMESPACES", "c"),
            ("DIAGNOSTIC_NODELOGS_LIST", "/var/log/one /var/log/two"),
        ],
    );
    assert_eq!(config.log_namespaces.value, ["a", "b"]);
    assert_eq!(config.object_namespaces.value, ["c"]);
    assert_eq!(config.provision_logs.value, ["/var/log/one", "/var/log/two"]);
}

#[test]
fn a_key_of_the_storage_account_is_never_printed() {
    let (_folder, config) = load_mounted(
        &[("secret/AZURE_BLOB_SAS_KEY", "?sv=1&sig=hunter22"), ("secret/AZURE_BLOB_X", "")],
        &[("AZURE_BLOB_SAS_KEY", "?sig=other")],
    );
    let key = config.run.blob.sas.value.as_ref().unwrap();
    assert_eq!(key.reveal(), "?sv=1&sig=hunter22");
    let printed = config.to_toml() + &format!("{config:?}");
    assert!(!printed.contains("hunter22"), "{printed}");
    assert!(printed.contains("# the SAS of the storage account: ‹masked› # file"), "{printed}");
}

#[test]
fn the_key_of_the_storage_account_may_be_renewed() {
    let (folder, config) = load_mounted(
        &[("secret/AZURE_BLOB_SAS_KEY", "?sig=old\n")],
        &[
            ("AZURE_BLOB_ACCOUNT_NAME", "account"),
            ("AZURE_BLOB_SAS_KEY", "?sig=environment"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ],
    );
    let blob = config.run.blob;
    assert_eq!(blob.again().unwrap(), blob);
    let path = folder.path().join("secret/AZURE_BLOB_SAS_KEY");
    std::fs::write(&path, "?sig=new").unwrap();
    let again = blob.again().unwrap();
    assert_eq!(again.sas.value.unwrap().reveal(), "?sig=new");
    assert_eq!(again.account.value.as_deref(), Some("account"));
    assert_eq!(again.token_file.value.as_deref(), Some(Path::new("/token")));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(blob.again().unwrap().sas.value, None);
}

#[test]
fn ceilings_must_make_sense_together() {
    let error = |file: &str| format!("{:#}", load(file, &[], Flags::default()).expect_err(file));
    assert!(error("[run]\nfolder_bytes = \"100MiB\"\n").contains("raise folder_bytes to 192MiB"));
    assert!(error("[run]\nfree_percent = 101\n").contains("free_percent"));
    assert!(error("[run]\ngrace = \"long\"\n").contains("key grace"));
    assert!(error("[run]\nseal_bytes = \"1KiB\"\n").contains("at least 256KiB"));
    let config =
        load("[run]\nseal_bytes = \"1MiB\"\nhealth = \"127.0.0.1:9\"\n", &[], Flags::default());
    assert_eq!(config.unwrap().run.seal_bytes.value, 1 << 20);
}
