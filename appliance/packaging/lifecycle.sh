#!/usr/bin/env bash
# Installs, upgrades, rolls back, removes and purges packages on a root of its own: a
# layer over that of this machine, which goes away with its mounts.
#
#   unshare -m lifecycle.sh DIR     DIR has 1.0.0.deb, 1.1.0.deb and broken.deb (1.2.0)
set -euo pipefail

debs=$1
base=$(mktemp -d)
mount --make-rprivate /
mount -t tmpfs -o mode=755 ringside-test "$base"
mkdir "$base"/{upper,work,root}
if ! mount -t overlay -o lowerdir=/,upperdir="$base/upper",workdir="$base/work" ringside-test "$base/root"; then
  echo "SKIP: no overlay over / here"
  exit 0
fi
root=$base/root
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir -p "$root/run" "$root/debs"
mount -t tmpfs tmpfs "$root/run" # no systemd is to be found here
mount --bind "$debs" "$root/debs"
trap 'cd /; umount -R "$root" "$base" 2>/dev/null || true; rmdir "$base" 2>/dev/null || true' EXIT

fail() { echo "FAIL: $*" >&2; exit 1; }
in_root() { DEBIAN_FRONTEND=noninteractive chroot "$root" "$@" </dev/null; }
running() { in_root readlink -e /usr/bin/ringside; }
is() { [ "$2" = "$3" ] || fail "$1 is $2, want $3"; }
mode() { in_root stat -c '%a %U:%G' "$1"; }
release() { echo "/usr/lib/ringside/releases/$1/ringside"; }
says() { grep -q -- "$1" "$base/out" || { cat "$base/out"; fail "nothing says: $1"; }; }
apply() { in_root dpkg "$@" >"$base/out" 2>&1; }

echo "== install"
apply -i /debs/1.0.0.deb || { cat "$base/out"; fail "install"; }
is "what runs" "$(running)" "$(release 1.0.0)"
in_root ringside --version >/dev/null || fail "ringside --version"
is ringside.conf "$(mode /etc/ringside/ringside.conf)" "640 root:ringside"
is state "$(mode /var/lib/ringside)" "750 ringside:ringside"
is spool "$(mode /var/spool/ringside)" "750 ringside:ringside"
is tls "$(mode /etc/ringside/tls)" "750 root:ringside"
says "captures nothing yet"
in_root test -L /etc/systemd/system/multi-user.target.wants/ringside.service || fail "the unit is not enabled"
in_root test -e /usr/lib/systemd/system/ringside-tune.service || fail "there is no unit that tunes"
in_root test ! -L /etc/systemd/system/multi-user.target.wants/ringside-tune.service || fail "it tunes without being asked"
in_root ringside check-config /etc/ringside/ringside.conf >/dev/null || fail "the configuration is refused"
in_root dpkg -V ringside | grep -v ' c ' | grep . && fail "files differ from the package's"
[ ! -e "$root/usr/lib/ringside/previous" ] || fail "there is a release before the first"

echo "== install once more"
apply -i /debs/1.0.0.deb || { cat "$base/out"; fail "once more"; }
is "what runs" "$(running)" "$(release 1.0.0)"
in_root sh -c 'printf "id_sensor = 7\n" >>/etc/ringside/ringside.conf'
in_root sh -c 'echo records >/var/lib/ringside/ringside.db; mkdir -p /var/spool/ringside/2026-01-31; echo packets >/var/spool/ringside/2026-01-31/x'

echo "== upgrade"
apply -i /debs/1.1.0.deb || { cat "$base/out"; fail "upgrade"; }
is "what runs" "$(running)" "$(release 1.1.0)"
is "the release before" "$(in_root readlink -e /usr/lib/ringside/previous)" "/usr/lib/ringside/releases/1.0.0"
in_root /usr/lib/ringside/releases/1.0.0/ringside --version >/dev/null || fail "the release before does not run"
in_root grep -q "id_sensor = 7" /etc/ringside/ringside.conf || fail "the configuration was lost"
[ -z "$(find "$root/usr/lib/ringside" "$root/usr/bin" -name '*.kept' -o -name '*.new' | grep ringside || true)" ] || fail "something is left of the upgrade"

echo "== roll back, and forward"
in_root ringside rollback >"$base/out" || fail "rollback"
is "what runs" "$(running)" "$(release 1.0.0)"
in_root ringside rollback >"$base/out" || fail "rollback forward"
is "what runs" "$(running)" "$(release 1.1.0)"

echo "== upgrade to one that does not work"
apply -i /debs/broken.deb || { cat "$base/out"; fail "dpkg stops at a release that does not work"; }
says "release 1.2.0 does not work here"
says "Release 1.1.0 goes on to run"
is "what runs" "$(running)" "$(release 1.1.0)"
in_root ringside --version >/dev/null || fail "it does not run"

echo "== and back to one that does"
apply -i /debs/1.1.0.deb || { cat "$base/out"; fail "downgrade"; }
is "what runs" "$(running)" "$(release 1.1.0)"
in_root ringside --version >/dev/null || fail "it does not run"

echo "== upgrade with a configuration that is refused"
in_root sh -c 'echo "interface_ip_filter = nonsense" >>/etc/ringside/ringside.conf'
apply -i --force-downgrade /debs/1.0.0.deb || { cat "$base/out"; fail "dpkg stops at a configuration"; }
says "Release 1.1.0 goes on to run"
is "what runs" "$(running)" "$(release 1.1.0)"
in_root sed -i '/nonsense/d' /etc/ringside/ringside.conf
in_root /var/lib/dpkg/info/ringside.postinst configure 1.0.0 >"$base/out" 2>&1 || { cat "$base/out"; fail "configure again"; }
is "what runs" "$(running)" "$(release 1.0.0)"
is "the release before" "$(in_root readlink -e /usr/lib/ringside/previous)" "/usr/lib/ringside/releases/1.1.0"

echo "== remove"
in_root sh -c 'mkdir -m 700 /var/lib/ringside-tune; echo "{\"interface\":\"gone0\",\"workload\":\"meter\"}" >/var/lib/ringside-tune/gone0.plan'
apply -r ringside || { cat "$base/out"; fail "remove"; }
for gone in /usr/bin/ringside /usr/lib/ringside /usr/share/ringside; do
  [ ! -e "$root$gone" ] && [ ! -L "$root$gone" ] || fail "$gone is left"
done
[ ! -e "$root/var/lib/ringside-tune/gone0.plan" ] || fail "a plan is left"
for stays in /etc/ringside/ringside.conf /var/lib/ringside/ringside.db /var/spool/ringside/2026-01-31/x; do
  [ -e "$root$stays" ] || fail "$stays is gone"
done

echo "== install again, with what was left"
apply -i /debs/1.1.0.deb || { cat "$base/out"; fail "install again"; }
in_root grep -q "id_sensor = 7" /etc/ringside/ringside.conf || fail "the configuration was lost"

echo "== purge"
apply -P ringside || { cat "$base/out"; fail "purge"; }
says "the recordings in /var/spool/ringside stay"
left=$(cd "$base/upper" && find . -name '*ringside*' -not -path './tmp/*' -not -path './debs*' -not -type c | sort)
is "what is left" "$left" "./var/spool/ringside"
[ -e "$root/var/spool/ringside/2026-01-31/x" ] || fail "recordings are gone"

echo "== purge without recordings"
rm -rf "$root/var/spool/ringside/2026-01-31"
apply -i /debs/1.1.0.deb && apply -P ringside || { cat "$base/out"; fail "purge"; }
[ ! -e "$root/var/spool/ringside" ] || fail "an empty spool is left"
echo "== done"
