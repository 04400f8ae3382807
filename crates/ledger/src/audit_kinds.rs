//! The names under which readers know audit leaves.
//!
//! Invariant: a name never changes, whatever becomes of its leaf; clients look for it.

use types::{AgentStatus, Phase};

use crate::audit::LeafBody;
use crate::rows_outward::DeliveryStatus;

impl LeafBody {
    /// The event kind as readers know it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bootstrapped { .. } => "cluster_initialised",
            Self::Submitted { .. } => "intent_submitted",
            Self::DuplicateRefused { .. } => "duplicate_refused",
            Self::Approved { .. } => "approval_vote_recorded",
            Self::Allowed => "approved",
            Self::Ended { phase, .. } => phase.name(),
            Self::PolicyChanged { .. } => "policy_changed",
            Self::AgentRegistered { .. } => "agent_registered",
            Self::AgentStatusChanged { status: AgentStatus::Active, .. } => "agent_resumed",
            Self::AgentStatusChanged { status: AgentStatus::Suspended, .. } => "agent_suspended",
            Self::AgentStatusChanged { status: AgentStatus::Revoked, .. } => "agent_revoked",
            Self::KeyRotated { .. } => "key_rotated",
            Self::RoleChanged { .. } => "role_changed",
            Self::NamespaceCreated { .. } => "namespace_created",
            Self::PoliciesApplied { .. } => "policies_applied",
            Self::FeatureLevelRaised { .. } => "feature_level_raised",
            Self::OrderIssued { .. } => "execution_requested",
            Self::OrderBegun { .. } => "execution_claimed",
            Self::Reported { phase: Phase::Succeeded, .. } => "execution_succeeded",
            Self::Reported { .. } => "execution_failed",
            Self::DoubtBegan { .. } => "execution_in_doubt",
            Self::Resolved { .. } => "execution_resolved",
            Self::DestinationsApplied { .. } => "destinations_applied",
            Self::ChannelsApplied { .. } => "channels_applied",
            Self::ExecutorTookOver { .. } => "executor_took_over",
            Self::GivenBack { .. } => "execution_given_back",
            Self::LeftToPeople => "left_to_people",
            Self::WebhookRegistered { .. } => "webhook_registered",
            Self::DeliveryReported { status: DeliveryStatus::Delivered, .. } => "webhook_delivered",
            Self::DeliveryReported { status: DeliveryStatus::Pending, .. } => {
                "webhook_attempt_failed"
            }
            Self::DeliveryReported { status: DeliveryStatus::Failed, .. } => "webhook_failed",
            Self::LinkIssued { .. } => "approval_link_issued",
            Self::LinkUsed { .. } => "approval_link_used",
            Self::NodeAdmitted { .. } => "node_admitted",
            Self::NodeRemoved { .. } => "node_removed",
            Self::ClusterChangeRequested { .. } => "cluster_change_requested",
            Self::JoinTokenIssued { .. } => "join_token_issued",
            Self::Frozen { .. } => "frozen",
            Self::FreezeSettled { .. } => "freeze_settled",
            Self::UnfreezeVoted { .. } => "unfreeze_vote_recorded",
            Self::Unfrozen { .. } => "unfrozen",
        }
    }
}
