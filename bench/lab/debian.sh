#!/bin/sh
# usage: debian.sh PACKAGE=SIGN…
#
# Installs the Debian packages that are missing, and starts none of their services: a package
# is there if its SIGN is: a command, or a file pattern beginning with /. (Not if dpkg knows it:
# a host may have its containerd from elsewhere, and Debian's would push that one out.)
set -eu

# Maintainer scripts ask policy-rc.d before they start a service; 101 forbids it.
policy=/usr/sbin/policy-rc.d
before=$policy.before-longshore
mark='made by longshore for the time of one installation'
restore() {
    if [ -e "$before" ] || [ -L "$before" ]; then mv -f "$before" "$policy"; else rm -f "$policy"; fi
}
# Left by a run that was killed.
if [ -e "$before" ] || [ -L "$before" ] || grep -qs "$mark" "$policy"; then restore; fi

missing=
for pair; do
    sign=${pair#*=}
    case $sign in
    /*) ls $sign >/dev/null 2>&1 || missing="$missing ${pair%%=*}" ;; # unquoted: a pattern
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$sign" >/dev/null || missing="$missing ${pair%%=*}" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "cannot install$missing: not root; as root: apt-get install$missing" >&2
    exit 1
fi

if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$before"; fi
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
apt="apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
$apt update
# --no-remove: rather fail than take a package away from the host.
# shellcheck disable=SC2086 # a list of words
$apt install --no-install-recommends --no-remove $missing </dev/null
