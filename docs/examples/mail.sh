#!/bin/sh
# A failure or expiring hook that sends a mail:
#   hooks = { failure = ["/usr/local/lib/robocred/mail.sh", "ot-team@example.com"] }
# The second argument names another program than /usr/sbin/sendmail. Under systemd it must speak
# SMTP itself, as msmtp does: see "Hooks" in SYSTEMD.md.
set -eu
to=$1
sendmail=${2:-/usr/sbin/sendmail}
{
    # Names and codes are plain words; whatever else there is to say is below the empty line.
    printf 'To: %s\n' "$to"
    printf 'Subject: robocred: %s: %s (%s)\n' "$ROBOCRED_ROBOT" "$ROBOCRED_EVENT" "${ROBOCRED_CODE:-done}"
    printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n'
    printf '%s\n\n' "${ROBOCRED_MESSAGE:-$ROBOCRED_ROBOT: $ROBOCRED_EVENT}"
    printf 'appliance    %s\n' "$ROBOCRED_URL"
    printf 'generation   %s\n' "${ROBOCRED_GENERATION:-none}"
    printf 'valid until  %s\n' "${ROBOCRED_NOT_AFTER:-unknown}"
    printf 'test         %s\n' "${ROBOCRED_TEST:+yes, nothing has happened}"
} | "$sendmail" -i -- "$to"
