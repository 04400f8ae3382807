"""Drives the public Python client, unchanged, against a running gate.

Every method of the client is called as its users call it; what comes back is compared with what
they read from it. Says what it checked, line by line, and ends with 1 at the first difference.

Usage: drive.py ENDPOINT AGENT_KEY REVIEWER_KEY
"""

import hashlib
import hmac
import http.server
import json
import queue
import re
import sys
import threading
from datetime import datetime

from zehrava_gate import Gate, GateError

DEADLINE_SECONDS = 90
SECRET = "whsec-4711"
POLICY = "crm-basic"


class Watched(Gate):
    """The client itself; what it sends is noted on the way."""

    sent = None

    def _request(self, method, path, body=None):
        self.sent = body
        return super()._request(method, path, body)


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes every webhook and hands it to the script."""

    taken = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Sink.taken.put((self.path, self.headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def check(what, found, expected):
    if found != expected:
        sys.exit(f"FAILED: {what}: expected {expected!r}, found {found!r}")
    print(f"ok: {what}")


def check_shape(what, body, shape):
    """Each member matches its pattern, is of its type, or equals the value."""
    for name, expected in shape.items():
        if name not in body:
            sys.exit(f"FAILED: {what}: no member {name!r} in {body!r}")
        found = body[name]
        if isinstance(expected, re.Pattern):
            good = isinstance(found, str) and expected.fullmatch(found)
        elif isinstance(expected, type):
            good = isinstance(found, expected)
        else:
            good = found == expected
        if not good:
            sys.exit(f"FAILED: {what}: {name} is {found!r}, expected {expected!r}")
    print(f"ok: {what}")


def check_error(what, call, code, /, **members):
    try:
        answer = call()
    except GateError as error:
        check(f"{what}: HTTP status", error.status, code)
        for name, expected in members.items():
            check(f"{what}: {name}", error.body.get(name), expected)
        return error
    sys.exit(f"FAILED: {what}: no GateError but {answer!r}")


INTENT = re.compile(r"int_[0-9a-f]{16}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PROPOSED = {
    "intentId": INTENT,
    "proposalId": INTENT,
    "messageId": re.compile(r"msg_[0-9a-f]{24}"),
    "blockReason": None,
    "expiresAt": TIME,
    "riskScore": float,
    "riskLevel": re.compile("low|medium|high|critical"),
    "riskFactors": list,
    "requiredApprovals": int,
    "approvalLinkToken": None,
}


def propose(gate, **more):
    return gate.propose(destination="crm.import", policy=POLICY, **more)


def allowed(agent):
    proposed = propose(agent, payload="name,phone\nAda,1", record_count=100)
    check_shape("propose: approved", proposed, {**PROPOSED, "status": "approved"})
    unset = [name for name, value in agent.sent.items() if value is None]
    check("propose: unset members are sent as null", unset, [
        "estimated_value_usd", "sensitivity_tags", "idempotency_key", "on_behalf_of", "metadata",
    ])
    intent = proposed["intentId"]
    order = agent.execute(intent_id=intent)
    check_shape("execute: the order", order, {
        "executionId": re.compile(r"exe_[0-9a-f]{16}"),
        "execution_id": order["executionId"],
        "execution_token": re.compile(r"gex_[0-9a-f]{40}"),
        "intent_id": intent,
        "mode": "runner_exec",
        "destination": "crm.import",
        "action": "crm.import",
        "payload_hash": hashlib.sha256(b"name,phone\nAda,1").hexdigest(),
        "retry_policy": dict,
        "status": "scheduled",
        "issued_at": TIME,
        "expires_at": TIME,
        "executed_at": None,
        "result": None,
    })
    lives = [datetime.fromisoformat(order[name].rstrip("Z")) for name in ("issued_at", "expires_at")]
    check("execute: the token lives 15 minutes", (lives[1] - lives[0]).total_seconds(), 900.0)
    check_error("execute again", lambda: agent.execute(intent_id=intent), 409, status="scheduled")
    whole = agent.verify(intent_id=intent)
    check_shape("verify: the whole intent", whole, {
        "id": intent,
        "status": "scheduled",
        "policy_id": POLICY,
        "destination": "crm.import",
        "payload_hash": order["payload_hash"],
        "estimated_records": 100,
        "block_reason": None,
        "approval_state": "answered",
        "required_approvals": int,
        "created_at": TIME,
        "auditTrail": list,
    })
    events = [event["event_type"] for event in whole["auditTrail"]]
    check("verify: the trail", events, ["proposed", "policy_checked", "approved",
                                        "execution_requested"])


def webhook(path):
    try:
        found, headers, body = Sink.taken.get(timeout=DEADLINE_SECONDS)
    except queue.Empty:
        sys.exit(f"FAILED: no webhook came to {path}")
    check("webhook: where it came", found, path)
    return headers, body


def approved(agent, reviewer, sink):
    proposed = propose(
        agent, payload="x", record_count=500, estimated_value_usd=12.5, sensitivity_tags=["pii"],
        on_behalf_of="customer-17", expires_in="2h", metadata={"ticket": 7},
    )
    intent = proposed["intentId"]
    check_shape("propose: held", proposed, {
        **PROPOSED, "status": "pending_approval", "approvalState": "waiting_input",
        "requiredApprovals": 1,
        "blockReason": "Record count 500 exceeds auto-approve threshold (100)",
    })
    check_error("execute what is held", lambda: agent.execute(intent_id=intent), 409,
                status="pending_approval")
    registered = agent.register_webhook(intent_id=intent, url=f"{sink}/approved", secret=SECRET)
    check_shape("register_webhook", registered, {
        "registered": True, "webhookId": re.compile(r"whk_[0-9a-f]{16}"), "intentId": intent,
        "url": f"{sink}/approved",
    })
    check_error("approve with the agent's key", lambda: agent.approve(intent_id=intent), 403,
                error="forbidden")
    check_shape("approve: without a body", reviewer.approve(intent_id=intent), {
        "status": "approved", "approvalState": "answered", "approvedAt": TIME, "intentId": intent,
    })
    headers, body = webhook("/approved")
    time, mac = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["X-Gate-Signature"]).groups()
    made = hmac.new(SECRET.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    check("webhook: the signature", mac, made)
    told = json.loads(body)
    check("webhook: members in their order", list(told)[:7], [
        "intentId", "event", "actor", "firedAt", "deliveryId", "attempt", "approver",
    ])
    check_shape("webhook: what it says", told, {
        "intentId": intent, "event": "approved", "firedAt": TIME, "attempt": 1,
        "deliveryId": headers["X-Gate-Delivery-ID"], "approver": told["actor"],
    })
    whole = agent.verify(intent_id=intent)
    check_shape("verify: what was sent", whole, {
        "status": "approved", "estimated_value_usd": 12.5, "sensitivity_tags": '["pii"]',
        "on_behalf_of": "customer-17", "metadata": {"ticket": 7},
    })
    agent.execute(intent_id=intent)


def rejected(agent, reviewer, sink):
    for number, reason in enumerate([None, "bad data"]):
        intent = propose(agent, payload="x", record_count=500)["intentId"]
        agent.register_webhook(intent_id=intent, url=f"{sink}/rejected/{number}")
        answer = reviewer.reject(intent_id=intent, reason=reason)
        check_shape("reject", answer, {"status": "blocked", "approvalState": "answered"})
        check("reject: the reason", answer.get("reason"), reason)
        headers, body = webhook(f"/rejected/{number}")
        check("webhook: unsigned without a secret", "X-Gate-Signature" in headers, False)
        check_shape("webhook: what it says", json.loads(body), {
            "intentId": intent, "event": "rejected", "rejector": str,
        })
        check("verify: blocked", agent.verify(intent_id=intent)["status"], "blocked")
        check_error("approve what is rejected", lambda: reviewer.approve(intent_id=intent), 409)


def refused(agent):
    first = propose(agent, payload="x", record_count=1, idempotency_key="import-1")
    duplicate = check_error(
        "propose the same key again",
        lambda: propose(agent, payload="x", record_count=1, idempotency_key="import-1"),
        409, status="duplicate_blocked", intentId=first["intentId"], existingStatus="approved",
    )
    check("propose the same key again: as the client shows it", str(duplicate), "HTTP 409")
    blocked = propose(agent, payload="a GUARANTEED refund!", record_count=1)
    check_shape("propose: blocked by a term is an answer", blocked, {
        "status": "blocked", "blockReason": re.compile(".*guaranteed refund.*"),
    })
    unknown = agent.propose(destination="crm.import", policy="nobody-wrote-it")
    check_shape("propose: a policy that is not there blocks", unknown, {
        "status": "blocked", "blockReason": "Policy 'nobody-wrote-it' not found",
    })
    elsewhere = agent.propose(destination="crm.delete", policy=POLICY, record_count=1)
    check("propose: a destination that the policy does not list", elsewhere["status"], "blocked")
    nobody = "int_0000000000000001"
    check_error("verify: unknown", lambda: agent.verify(intent_id=nobody), 404,
                error="Proposal not found")
    check_error("execute: unknown", lambda: agent.execute(intent_id=nobody), 404,
                error="Intent not found")
    wrong = Gate(agent.endpoint, "gate_sk_" + "0" * 48)
    check_error("verify: unknown key", lambda: wrong.verify(intent_id=nobody), 401,
                error="Invalid API key")


def main():
    endpoint, agent_key, reviewer_key = sys.argv[1:]
    # A slash at the end is dropped by the client.
    agent, reviewer = Watched(endpoint + "/", agent_key), Watched(endpoint, reviewer_key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sink = f"http://127.0.0.1:{server.server_port}"
    allowed(agent)
    approved(agent, reviewer, sink)
    rejected(agent, reviewer, sink)
    refused(agent)
    server.shutdown()
    check("webhooks that nobody asked for", Sink.taken.qsize(), 0)
    print("all checks passed")


main()
