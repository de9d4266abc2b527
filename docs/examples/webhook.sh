#!/bin/sh
# A failure or expiring hook that posts to a webhook:
#   hooks = { failure = ["/usr/local/lib/robocred/webhook.sh", "/etc/robocred/webhook.curl"] }
# The file is one of curl's own, mode 0600, because the address is a secret and no argument may show it:
#   url = "https://hooks.example.com/services/…"
# It gets {"text": …}, what most chats take. A second argument "facts" posts the whole document of
# the hook instead, see HOOKS.md.
set -eu
config=$1
if [ "${2:-text}" = facts ]; then
    body=$(cat)
else
    # One line without control characters: only these two mean something within a JSON string.
    text=$(printf '%s' "${ROBOCRED_MESSAGE:-$ROBOCRED_ROBOT: $ROBOCRED_EVENT}" | sed 's/[\\"]/\\&/g')
    body="{\"text\":\"$text\"}"
fi
printf '%s' "$body" | curl --silent --show-error --fail --max-time 60 --config "$config" \
    --header 'Content-Type: application/json' --data-binary @- --output /dev/null
