//! Where files are fetched from, and by what right.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use periscope_blob::{Identity, Located, Login, Place, Sas, Token, WorkloadIdentity};

use super::az;
use crate::cli::{ChoiceArguments, FetchArguments};

/// Where `az` and others look for a SAS too.
const SAS: &str = "AZURE_STORAGE_SAS_TOKEN";

/// Where accounts of the public cloud are.
const SUFFIX: &str = "core.windows.net";

/// A container, and what of it the URL names.
#[derive(Debug)]
pub(super) struct Source {
    place: Place,
    sas: Option<Sas>,
    run: Option<String>,
    node: Option<String>,
}

impl Source {
    /// What the command line names, and the folder to fetch into.
    ///
    /// # Errors
    ///
    /// If it names no container, or too much.
    pub(super) fn of(arguments: &FetchArguments) -> Result<(Self, PathBuf)> {
        let mut words = arguments.place.iter();
        let account = arguments.account.as_ref().zip(arguments.container.as_ref());
        let source = if let Some((account, container)) = account {
            let place = Place::of_account(account, SUFFIX, container)?;
            Self { place, sas: None, run: None, node: None }
        } else {
            let hint = "hint: periscope-analyze fetch 'https://ACCOUNT.blob.core.windows.net/\
                        CONTAINER?SAS' DIR\n\
                        hint: or --account ACCOUNT --container CONTAINER, after az login";
            let url = words.next().with_context(|| format!("nothing to fetch from\n{hint}"))?;
            Self::of_url(url)?
        };
        let folder = words.next().map(PathBuf::from).unwrap_or_default();
        if words.next().is_some() {
            bail!("--account and --container say where from: only a folder may follow");
        }
        Ok((source, folder))
    }

    /// What a URL names.
    ///
    /// # Errors
    ///
    /// If it names no container; the text does not repeat it.
    pub(super) fn of_url(url: &str) -> Result<Self> {
        let Located { place, sas, prefix } = Place::locate(url)?;
        let mut parts = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let (run, node) = (parts.next(), parts.next());
        if parts.next().is_some() {
            bail!(
                "the URL names more than a container, a run and a node\n\
                 hint: leave out what follows the container, and use --run and --node"
            );
        }
        Ok(Self { place, sas, run, node })
    }

    /// The container.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A choice and names of nodes with what the URL has chosen.
    ///
    /// # Errors
    ///
    /// If the two contradict each other.
    pub(super) fn narrow(
        &self,
        choice: &ChoiceArguments,
        nodes: &[String],
    ) -> Result<(ChoiceArguments, Vec<String>)> {
        let mut choice = choice.clone();
        if let Some(run) = &self.run {
            if choice.latest || choice.run.as_ref().is_some_and(|chosen| chosen != run) {
                bail!("the URL names the run {run}, and the command line another");
            }
            choice.run = Some(run.clone());
        }
        Ok((choice, nodes.iter().chain(&self.node).cloned().collect()))
    }

    /// By what right: the URL's SAS, else one of the environment, else a workload
    /// identity of the environment, else who is logged in with `az`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(super) fn login(&self) -> Result<Login> {
        self.login_by(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn login_by(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Login> {
        if let Some(sas) = &self.sas {
            return Ok(Login::Sas(sas.clone()));
        }
        if let Some(sas) = environment(SAS) {
            return Ok(Login::Sas(Sas::parse(&sas).with_context(|| format!("reading {SAS}"))?));
        }
        if self.place.is_plain_text() {
            bail!("{} is not https, and only a SAS is sent to it\nhint: append ?SAS", self.place);
        }
        let [tenant, client, file] =
            ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"].map(environment);
        if let (Some(tenant), Some(client), Some(file)) = (tenant, client, file) {
            return Ok(Login::Identity(Identity::Workload(WorkloadIdentity {
                authority: environment("AZURE_AUTHORITY_HOST").unwrap_or_default(),
                tenant,
                client,
                token_file: file.into(),
            })));
        }
        let token = az::token().with_context(|| {
            format!(
                "nothing says who asks for {}: the URL has no SAS, and az gives no token\n\
                 hint: append ?SAS to the URL (sp=rl), set {SAS}, or use az login",
                self.place
            )
        })?;
        Ok(Login::Identity(Identity::Token(Token(token))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://shop.blob.core.windows.net/logs";

    fn login(url: &str, environment: &[(&str, &str)]) -> String {
        let source = Source::of_url(url).expect(url);
        let lookup = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
        };
        source.login_by(&lookup).map_or_else(|error| format!("{error:#}"), |by| by.describe())
    }

    #[test]
    fn the_nearest_right_wins() {
        let workload = [
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ];
        let sas = [("AZURE_STORAGE_SAS_TOKEN", "sp=rl&sig=hunter22")];
        assert_eq!(login(&format!("{URL}?sp=rl&sig=hunter22"), &workload), "a SAS");
        assert_eq!(login(URL, &[sas.as_slice(), &workload].concat()), "a SAS");
        assert_eq!(login(URL, &workload), "the workload identity c");
        let plain = login("http://127.0.0.1:1/account/logs", &workload);
        assert!(plain.contains("not https"), "{plain}");
        let wrong = login(URL, &[("AZURE_STORAGE_SAS_TOKEN", "hunter22")]);
        assert!(wrong.contains("no signature") && !wrong.contains("hunter22"), "{wrong}");
    }

    #[test]
    fn a_url_may_name_a_run_and_a_node() {
        let source = Source::of_url(&format!("{URL}/run-1/node-a?sp=rl&sig=x")).expect("a run");
        let narrow = |choice: &ChoiceArguments| source.narrow(choice, &[]);
        let (choice, nodes) = narrow(&ChoiceArguments::default()).expect("no contradiction");
        assert_eq!((choice.run.as_deref(), nodes), (Some("run-1"), vec!["node-a".into()]));
        let other = ChoiceArguments { run: Some("run-2".to_owned()), ..Default::default() };
        assert!(narrow(&other).is_err());
        let latest = ChoiceArguments { latest: true, ..Default::default() };
        assert!(narrow(&latest).is_err());
        assert!(Source::of_url(&format!("{URL}/run-1/node-a/file.db?sp=rl&sig=x")).is_err());
    }
}
