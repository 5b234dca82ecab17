#!/usr/bin/env bash
# Builds Debian packages.
#
#   deb.sh OUT VERSION ARCH...      OUT/ringside_VERSION_ARCH.deb of each architecture
#
# BINARY names a program that is built already, and COMPRESS another way to compress,
# for the tests. The same commit and version give the same packages, byte by byte.
set -euo pipefail

out=$1 version=${2#v}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
go=${GO:-go}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$top"

if [ -z "$version" ]; then # no release: sorts before all of them
  version=0.0~$(git log -1 --format=%cd.%h --date=format:%Y%m%d 2>/dev/null || echo dev)
fi
if ! dpkg --validate-version "$version" || [[ $version == */* ]]; then
  echo "deb: $version is no version for a package: write VERSION=1.2.3" >&2
  exit 2
fi
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# compile ARCH TO: pure Go, so any machine builds for any.
compile() {
  CGO_ENABLED=0 GOOS=linux GOARCH=$1 $go build -trimpath \
    -ldflags "-s -w -X ringside/appliance/cli.tag=v$version" -o "$2" ./appliance/cmd/ringside
}

# licences: NOTICE, and the text of the licence of each module in the program.
licences() {
  cat NOTICE
  printf '\nThe modules, with their licences:\n'
  $go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./appliance/cmd/ringside |
    sort -u | while read -r path module_version dir; do
    printf '\n======== %s %s ========\n' "$path" "$module_version"
    found=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
    if [ -z "$found" ]; then
      echo "deb: module $path has no licence in $dir" >&2
      return 1
    fi
    # shellcheck disable=SC2086
    cat $found
  done
  printf '\n======== Go %s ========\n' "$($go env GOVERSION)"
  cat "$($go env GOROOT)/LICENSE" 2>/dev/null || cat "$here/debian/go-licence"
  printf '\n======== of the web UI ========\n'
  cat appliance/web/dist/licences.txt
}

# changelog: the top of CHANGELOG.md in Debian's form.
changelog() {
  printf 'ringside (%s) unstable; urgency=medium\n\n' "$version"
  awk '/^## / { if (n++) exit; next }
       n && /^- / { if (item) print item; sub(/^- /, ""); item = $0; next }
       n && /^  [^ ]/ { item = item " " substr($0, 3) }
       END { if (item) print item }' CHANGELOG.md |
    while read -r item; do fold -s -w 74 <<<"$item" | sed -e '1s/^/  * /' -e '2,$s/^/    /' -e 's/ *$//'; done
  printf '\n -- The ringside authors <ringside@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

native=$work/ringside
if [ -n "${BINARY:-}" ]; then
  cp "$BINARY" "$native"
else
  compile "$($go env GOHOSTARCH)" "$native"
fi
"$native" man "$work/man"
licences >"$work/NOTICE"

# tree ARCH ROOT: the files of the package.
tree() {
  local arch=$1 root=$2 doc=$2/usr/share/doc/ringside share=$2/usr/share/ringside page
  install -d "$root/usr/lib/ringside/releases/$version" "$share"/{grafana,prometheus,schema} "$doc" \
    "$root"/usr/share/{man/man8,man/man5,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
  if [ -n "${BINARY:-}" ] || [ "$arch" = "$($go env GOHOSTARCH)" ]; then
    install -m 755 "$native" "$root/usr/lib/ringside/releases/$version/ringside"
  else
    compile "$arch" "$root/usr/lib/ringside/releases/$version/ringside"
  fi

  install -D -m 644 "$here/systemd/ringside.service" "$root/usr/lib/systemd/system/ringside.service"
  install -D -m 644 "$here/systemd/ringside-tune.service" "$root/usr/lib/systemd/system/ringside-tune.service"
  install -D -m 644 "$here/systemd/ringside.sysusers" "$root/usr/lib/sysusers.d/ringside.conf"
  install -D -m 644 "$here/systemd/ringside.tmpfiles" "$root/usr/lib/tmpfiles.d/ringside.conf"
  install -d -m 750 "$root/etc/ringside" "$root/etc/ringside/conf.d" "$root/etc/ringside/tls"
  install -m 640 "$work/man/ringside.conf" "$root/etc/ringside/ringside.conf"
  install -D -m 644 "$here/debian/logrotate" "$root/etc/logrotate.d/ringside"

  install -m 644 "$here"/grafana/*.json "$share/grafana/"
  install -m 644 "$here"/prometheus/*.yml "$share/prometheus/"
  install -m 644 writer/store/schema/*.sql "$share/schema/"
  install -m 644 appliance/api/openapi.json "$share/openapi.json"

  for page in "$work"/man/*.8; do gzip -9nc "$page" >"$root/usr/share/man/man8/${page##*/}.gz"; done
  gzip -9nc "$work/man/ringside.conf.5" >"$root/usr/share/man/man5/ringside.conf.5.gz"
  "$native" completion bash >"$root/usr/share/bash-completion/completions/ringside"
  "$native" completion zsh >"$root/usr/share/zsh/vendor-completions/_ringside"
  "$native" completion fish >"$root/usr/share/fish/vendor_completions.d/ringside.fish"

  install -m 644 "$here/debian/copyright" "$doc/copyright"
  install -m 644 "$work/NOTICE" "$doc/NOTICE"
  changelog | gzip -9n >"$doc/changelog.gz"
  install -D -m 644 "$here/debian/lintian-overrides" "$root/usr/share/lintian/overrides/ringside"
}

# control ARCH ROOT: what dpkg wants to know.
control() {
  local root=$2 script
  install -d "$root/DEBIAN"
  for script in preinst postinst prerm postrm; do
    sed "s/@VERSION@/$version/g" "$here/debian/$script" >"$root/DEBIAN/$script"
    chmod 755 "$root/DEBIAN/$script"
  done
  printf '%s\n' /etc/logrotate.d/ringside /etc/ringside/ringside.conf >"$root/DEBIAN/conffiles"
  (cd "$root" && find . -type f -not -path './DEBIAN/*' -not -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$1/" \
    -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)/" "$here/debian/control" >"$root/DEBIAN/control"
  chmod 644 "$root"/DEBIAN/{conffiles,md5sums,control}
}

for arch in "$@"; do
  root=$work/$arch
  tree "$arch" "$root"
  control "$arch" "$root"
  find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Z"${COMPRESS:-xz}" --build "$root" "$out/ringside_${version}_$arch.deb"
done
