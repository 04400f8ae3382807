#!/bin/sh
# Asks node 1 for the token with which nodes 2 and 3 join, and gives it to them. Who has one is not
# given another, since a cluster that is there needs none; `join renew` makes new ones, for a node
# that did not join within a day.
set -eu
umask 077
if [ "${1:-}" != renew ] && [ -s /nodes/2/join.token ] && [ -s /nodes/3/join.token ]; then
    echo 'the nodes have their token'
    exit 0
fi
qgate health --ready --wait 120s
# Once the first admin's key was taken away, whoever renews says with which key.
if [ -z "${QGATE_API_KEY:-}" ]; then
    QGATE_API_KEY=$(cat /nodes/1/admin.key)
fi
export QGATE_API_KEY
for node in 2 3; do
    qgate cluster token --valid 24h >"/nodes/$node/join.token.new"
    mv "/nodes/$node/join.token.new" "/nodes/$node/join.token"
done
