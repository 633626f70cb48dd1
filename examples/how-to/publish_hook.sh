#!/usr/bin/env bash
# Caches what a pipeline has published: publish_hook.sh LIST [MINUTES]
#
# LIST names files and folders, one a line. Ends with code 0 when everything is in the cache, with
# 6 when some files could not be read, and with 75 when it is worth trying again later: the cache
# was too slow, or is away. Any other code is a mistake that trying again does not mend.
set -euo pipefail

list=$1
minutes=${2:-10}
retry_later=75

code=0
timeout "${minutes}m" teamcache-gateway submit --from-file "$list" --watch || code=$?

case $code in
0) echo "Everything is in the cache." ;;
4) echo "No gateway answers; the publish stands, the cache does without it." >&2; code=$retry_later ;;
6) echo "Some files could not be read: teamcache-gateway jobs --limit 1" >&2 ;;
124) echo "Not ready after $minutes minutes; the job goes on by itself." >&2; code=$retry_later ;;
*) echo "The cache job did not complete (code $code)." >&2 ;;
esac
exit "$code"
