//! The decision that policy made of an intent, rule by rule.

use ledger::{Content, Head, query};
use serde_json::{Value, json};
use types::{Outcome, Phase};

use crate::answer::Answer;
use crate::call::Authed;
use crate::evidence::{EvidenceKey, read_evidence};
use crate::intents::{intent_id, visible};
use crate::problem::Problem;
use crate::times::iso;
use crate::view::{ReasonView, decision_id, explanation, reason_code, score};

/// `GET /v1/intents/{id}/decision`.
pub(crate) async fn decision(call: Authed) -> Result<Answer, Problem> {
    const UNKNOWN: &str = "No decision found for this intent";
    let id = intent_id(&call, UNKNOWN)?;
    let namespace = call.namespace();
    let key = EvidenceKey::of(&call.app.gate);
    let (body, point) = call
        .read(|state, reader, _| {
            let head = visible(state, namespace, reader, id)
                .map_err(|problem| problem.instead_of_unknown(UNKNOWN))?;
            let content = query::content(state, namespace, id, head.revision)?;
            let evidence = read_evidence(state, &key, namespace, &head, &content)?;
            Ok(decision_view(&head, &content, evidence.as_ref()))
        })
        .await?;
    Ok(Answer::ok(&body).at(point))
}

fn decision_view(head: &Head, content: &Content, evidence: Option<&Value>) -> Value {
    let decision = &content.decision;
    let decided = match decision.outcome {
        Outcome::Allow => Phase::Allowed,
        Outcome::Block => Phase::Blocked,
        Outcome::Hold | Outcome::Duplicate => Phase::Held,
    };
    let held = decided == Phase::Held;
    let explained = explanation(decision);
    let objection = explained.filter(|_| decided != Phase::Allowed);
    let proposal = &content.proposal;
    let snapshot = json!({ "policy": proposal.policy, "destination": proposal.destination });
    let reasons: Vec<_> = decision.reasons.iter().map(ReasonView::of).collect();
    json!({
        "id": decision_id(head.id),
        "intent_id": head.id.to_string(),
        "status": decided.status(),
        "reason_code": reason_code(decision),
        "reason_detail": explained,
        "risk_score": score(&content.risk),
        "risk_level": content.risk.level.name(),
        "policy_snapshot": snapshot.to_string(),
        "required_approvals": if held { head.approval.rule.count.max(1) } else { 0 },
        "evaluated_at": iso(decision.at),
        "approval_evidence": evidence,
        "phase": head.phase.name(),
        "outcome": decision.outcome.name(),
        "reasons": reasons,
        "blockReason": objection,
        "block_reason": objection,
        "policy_version": decision.policy_version,
        "policy_digest": decision.policy_digest.map(|digest| digest.to_string()),
        "rules_digest": decision.rules_digest.to_string(),
        "approval_digest": head.approval.digest.to_string(),
        "revision": head.revision,
        "riskScore": score(&content.risk),
        "riskLevel": content.risk.level.name(),
        "risk_factors": content.risk.factors,
    })
}
