//! `qgate cluster certificates`: an authority in a directory, and certificates of nodes.
//!
//! For development and for small deployments, where a directory can be kept as safe as a key has
//! to be. Who has an authority already has that one issue the certificates.
//! Invariant: an authority that is there is used, and never replaced.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tls::NodeName;

use crate::authority_dir::AuthorityDir;
use crate::failure::Failure;
use crate::output::{Column, Output};

const ISSUED: &[Column] =
    &[("node", &["id"]), ("certificate", &["certificate"]), ("key", &["key"])];

/// Issue certificates with which nodes prove to each other who they are, from an authority in a
/// directory, which is made if it is not there. For development and small deployments.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate cluster certificates --dir ca \
    --cluster-id 2f1c9a04b6d84e0f9a3b5c7d8e6f1a20 --nodes 1,2,3\n\n\
    Writes DIR/ca.pem and DIR/ca.key once, and DIR/node-<id>.pem and DIR/node-<id>.key for each\n\
    node, over earlier ones; a node takes new files into use by itself. Give each node ca.pem and\n\
    its own two files, named in peer.tls of its configuration. ca.key stays here: who has it can\n\
    be any node. The id of a cluster that runs is shown by: qgate cluster status. For a new one\n\
    make it up: openssl rand -hex 16.")]
pub(crate) struct CertificatesArgs {
    /// Where the authority lies and certificates are put, e.g. ca
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The cluster: 32 lower-case hexadecimal digits, e.g. 2f1c9a04b6d84e0f9a3b5c7d8e6f1a20
    #[arg(long, value_name = "ID")]
    cluster_id: String,
    /// The nodes by their ids, e.g. 1,2,3
    #[arg(long, value_name = "NODES", required = true, value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..))]
    nodes: Vec<u64>,
    /// How long the certificates count, at most 825, e.g. 90
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    days: u32,
}

/// Runs `qgate cluster certificates`.
///
/// # Errors
/// A cluster id that is malformed, an authority that cannot be used, and what the disk refuses.
pub(crate) fn run(output: Output, args: &CertificatesArgs) -> Result<(), Failure> {
    let nodes: BTreeSet<u64> = args.nodes.iter().copied().collect();
    let names = nodes.iter().map(|node| NodeName::new(&args.cluster_id, *node));
    let names: Result<Vec<NodeName>, _> = names.collect();
    let names = names.map_err(|error| Failure::usage(error.to_string()))?;
    let authority = AuthorityDir::open(&args.dir, "Quorum Gate")?;
    let mut issued: Vec<Value> = Vec::new();
    for name in names {
        let node = name.node();
        let files = authority.issue(&name, args.days, &args.dir, &format!("node-{node}"))?;
        issued.push(json!({ "id": node, "certificate": files.certificate, "key": files.key }));
    }
    let body = json!({ "ca": args.dir.join("ca.pem"), "nodes": issued });
    output.rows(&body, "nodes", ISSUED);
    Ok(())
}
