#!/bin/sh
# What three nodes need before they can meet: the id of their cluster, an authority, a certificate
# for each, and the data key that they share. Made once; another start finds it and changes nothing.
#
# The authority lies in a volume that no node has. Keep that volume: it is what a fourth node needs.
set -eu
umask 077
owner=10001:10001
cd /authority

# hex BYTES FILE: random bytes as hexadecimal digits, unless the file is there.
hex() {
    [ -s "$2" ] && return
    od -An -v -N"$1" -tx1 /dev/urandom | tr -d ' \n' >"$2.new"
    mv "$2.new" "$2"
}

if [ -e complete ]; then
    echo "cluster $(cat cluster-id) has what it needs"
    exit 0
fi
hex 16 cluster-id
hex 32 data.key
qgate cluster certificates --dir . --cluster-id "$(cat cluster-id)" --nodes 1,2,3
for node in 1 2 3; do
    home=/nodes/$node
    cp ca.pem "$home/ca.pem"
    cp data.key "$home/data.key"
    cp "node-$node.pem" "$home/node.pem"
    mv "node-$node.key" "$home/node.key"
    chmod 0700 "$home"
    chown "$owner" "$home" "$home"/*
done
sync
touch complete
echo "made what cluster $(cat cluster-id) needs"
