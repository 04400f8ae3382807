//! How a node begins: whose data it has, and what it may do before it knows more.
//!
//! Promise: data of another node, of another cluster, or with a hole is refused, with the reason.
//! Invariant: an empty directory becomes a cluster only where the configuration says so.

use std::time::Duration;

use futures::future::join_all;
use store::StoreError;
use store::log::{LogStore, MetaKind};
use store::state::StateStore;
use types::{NodeId, hex};
use wire::peer::JoinRequest;

use crate::codec::{self, Identity};
use crate::config::{Begin, Config};
use crate::peers::{At, Own, Peers, Purpose};

/// How long a node may take to say that there is a cluster.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk is full to its end.
    #[error("{0}")]
    DiskFull(String),
    /// The data is another node's.
    #[error(
        "this data belongs to node {}, not to node {}; point it at its own",
        found.0,
        configured.0
    )]
    OtherNode {
        /// Whose data it is.
        found: NodeId,
        /// Who wanted it.
        configured: NodeId,
    },
    /// The certificate is another node's.
    #[error(
        "the certificate is that of node {}, not of node {}; give this node its own",
        found.0,
        configured.0
    )]
    OthersCertificate {
        /// Whose certificate it is.
        found: NodeId,
        /// Who wanted it.
        configured: NodeId,
    },
    /// The certificate is for another cluster.
    #[error(
        "the certificate is for cluster {certified}, and this node is of cluster {cluster_id}; \
         issue one for that"
    )]
    OtherCluster {
        /// Cluster of the certificate.
        certified: String,
        /// Cluster of the data, or of the token.
        cluster_id: String,
    },
    /// The state is there and the log is not: for whom this node voted is forgotten.
    #[error(
        "the log is lost, with the votes of this node; remove it from the cluster and let it join \
         under a new id with an empty directory"
    )]
    LogLost,
    /// There is nothing to go on with.
    #[error("this data directory belongs to no cluster yet; have it make one or join one")]
    NoCluster,
    /// The log was purged further than the state goes.
    #[error(
        "the state ends at {applied}, but the log begins after {purged}: state is lost; remove \
         this node and let it join under a new id"
    )]
    StateLost {
        /// Last applied entry.
        applied: u64,
        /// Last purged entry.
        purged: u64,
    },
    /// This node was to make a cluster, and there is one.
    #[error(
        "node {node} at {peer} belongs to a cluster ({said}), so none is made; if this node lost \
         its data, remove it there and let it join under a new id (docs/cluster.md)"
    )]
    ClusterThere {
        /// Who answered.
        node: u64,
        /// Where it is.
        peer: String,
        /// What it answered.
        said: String,
    },
    /// Raft refused.
    #[error("raft does not start: {0}")]
    Raft(String),
}

impl StartError {
    /// There is no room on the disk to start with.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull(_) => true,
            Self::Store(error) => error.is_disk_full(),
            _ => false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_err` gives the error away")]
    pub(crate) fn raft(error: impl ToString) -> Self {
        Self::Raft(error.to_string())
    }
}

/// The state must reach the beginning of the log.
pub(crate) fn check_state(log: &LogStore, state: &StateStore) -> Result<(), StartError> {
    let applied = state.applied().map(|applied| applied.index);
    match log.purged() {
        Some(purged) if applied < Some(purged) => {
            Err(StartError::StateLost { applied: applied.unwrap_or(0), purged })
        }
        _ => Ok(()),
    }
}

/// Whose data it is; fresh data becomes this node's.
pub(crate) fn identify(
    log: &LogStore,
    config: &Config,
    has_state: bool,
) -> Result<Identity, StartError> {
    let certified = config.identity.as_ref().map(|identity| identity.name().clone());
    if let Some(name) = &certified
        && name.node() != config.node.0
    {
        let found = NodeId(name.node());
        return Err(StartError::OthersCertificate { found, configured: config.node });
    }
    let certified = certified.map(|name| name.cluster_id().to_owned());
    let stored = log.meta(MetaKind::Node)?;
    let is_new = stored.is_none();
    let identity = match stored {
        Some(bytes) => {
            let identity = codec::decode_identity(&bytes).map_err(StartError::raft)?;
            if identity.node != config.node {
                let found = identity.node;
                return Err(StartError::OtherNode { found, configured: config.node });
            }
            identity
        }
        None if has_state => return Err(StartError::LogLost),
        None => {
            let incarnation = random()?;
            let cluster_id = match (&config.begin, &certified) {
                (Begin::Join(plan), _) => plan.cluster_id.clone(),
                (Begin::Resume, _) => return Err(StartError::NoCluster),
                (Begin::Cluster, Some(certified)) => certified.clone(),
                (Begin::Cluster, None) => hex(&random()?),
            };
            Identity { node: config.node, cluster_id, incarnation }
        }
    };
    if let Some(certified) = certified
        && certified != identity.cluster_id
    {
        let cluster_id = identity.cluster_id;
        return Err(StartError::OtherCluster { certified, cluster_id });
    }
    if is_new {
        log.save_meta_wait(MetaKind::Node, &codec::encode_identity(&identity))?;
    }
    Ok(identity)
}

/// Asks the nodes that are named for it whether there is a cluster already. Whoever answers belongs
/// to one: no node starts without.
pub(crate) async fn must_be_first(config: &Config) -> Result<(), StartError> {
    let certified =
        config.identity.as_ref().map(|identity| identity.name().cluster_id().to_owned());
    // In plain text: that of no cluster.
    let cluster_id = certified.unwrap_or_else(|| hex(&[0; 16]));
    let own = Own { node: config.node, data: [0; 16] };
    let peers = Peers::new(cluster_id, own, config.identity.clone(), config.connect_wait());
    let others = config.ask_first.iter().filter(|(node, _)| **node != config.node.0);
    let asked = others.map(|(node, peer)| {
        let at = At { node: *node, address: peer, data: None };
        let client = peers.client(at, Purpose::Urgent);
        async move {
            let answer = async { client?.join(JoinRequest::default()).await };
            match tokio::time::timeout(ANSWER_WITHIN, answer).await {
                Ok(Ok(_)) => Some((*node, peer, "it serves".to_owned())),
                // What did not come from the other node has its cause here.
                Ok(Err(status)) if std::error::Error::source(&status).is_none() => {
                    Some((*node, peer, status.message().to_owned()))
                }
                Ok(Err(_)) | Err(_) => None,
            }
        }
    });
    match join_all(asked).await.into_iter().flatten().next() {
        Some((node, peer, said)) => {
            Err(StartError::ClusterThere { node, peer: peer.clone(), said })
        }
        None => Ok(()),
    }
}

fn random() -> Result<[u8; 16], StartError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(StartError::raft)?;
    Ok(random)
}
