#!/usr/bin/env bash
# Sends a signed request: signed_curl.sh KEY NAME METHOD PATH [BODY]
#
# KEY is a private Ed25519 key in PEM, NAME what the gateway calls it, PATH begins with a slash and
# may have a query, BODY is JSON. Needs curl and OpenSSL 3. The gateway is that of TEAMCACHE_URL.
set -euo pipefail

key=$1 name=$2 method=$3 path=$4 body=${5-}
url=${TEAMCACHE_URL:-http://localhost:8095}

authority=${url#*://}
query=?
case $path in *\?*) query=?${path#*\?} ;; esac

# What is signed, a line each; then what the signature says of itself.
base="\"@method\": $method
\"@authority\": $authority
\"@path\": ${path%%\?*}
\"@query\": $query"
covered='"@method" "@authority" "@path" "@query"'
more=()
if [ -n "$body" ]; then
    digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
    base="$base
\"content-digest\": $digest"
    covered="$covered \"content-digest\""
    more=(-H "Content-Digest: $digest" -H "Content-Type: application/json" --data-binary "$body")
fi
input="($covered);created=$(date +%s);keyid=\"$name\";alg=\"ed25519\";nonce=\"$(openssl rand -hex 16)\""
base="$base
\"@signature-params\": $input"

# OpenSSL wants to know the length of what it signs, and of a pipe it cannot.
to_sign=$(mktemp)
trap 'rm -f "$to_sign"' EXIT
printf %s "$base" >"$to_sign"
signature=$(openssl pkeyutl -sign -rawin -inkey "$key" -in "$to_sign" | openssl base64 -A)

curl -sS -X "$method" "$url$path" ${more[@]+"${more[@]}"} \
    -H "Signature-Input: sig=$input" -H "Signature: sig=:$signature:"
