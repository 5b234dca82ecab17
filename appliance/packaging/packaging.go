// Package packaging holds what the Debian package is made of, beside the program:
// units of systemd, maintainer scripts, alert rules and dashboards. deb.sh puts
// them together; docs/install.md says what is where.
package packaging
