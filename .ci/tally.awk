# Reads `go test -json` and prints what a person wants to see of it.

function field(name,    at, rest) {
    at = index($0, "\"" name "\":\"")
    if (!at) return ""
    rest = substr($0, at + length(name) + 4)
    return substr(rest, 1, index(rest, "\"") - 1)
}

# The text of an output event: the last field, with its escapes undone.
function output(    at, s) {
    at = index($0, "\"Output\":\"")
    s = substr($0, at + 10)
    sub(/"}$/, "", s)
    gsub(/\\\\/, "\001", s)
    gsub(/\\n/, "\n", s)
    gsub(/\\t/, "\t", s)
    gsub(/\\"/, "\"", s)
    gsub(/\\u003c/, "<", s)
    gsub(/\\u003e/, ">", s)
    gsub(/\\u0026/, "\\&", s)
    gsub(/\001/, "\\", s)
    return s
}

# keep remembers the tests that took longest, in seconds.
function keep(key,    at, seconds, i) {
    at = index($0, "\"Elapsed\":")
    seconds = substr($0, at + 10) + 0
    for (i = longest; i > 0 && slow[i] < seconds; i--) {
        slow[i + 1] = slow[i]
        slowest[i + 1] = slowest[i]
    }
    slow[i + 1] = seconds
    slowest[i + 1] = key
    if (longest < 12) longest++
}

{
    action = field("Action")
    package = field("Package")
    if (package == "") package = field("ImportPath")
    test = field("Test")
    key = package " " test
}

action == "output" && test == "" {
    text = output()
    if (text ~ /^(ok|FAIL|---|panic|\?)/ || text !~ /^(PASS|coverage)/) printf "%s", text
    next
}
action == "output" || action == "build-output" {
    if (action == "build-output") printf "%s", output()
    else said[key] = said[key] output()
    next
}
test != "" && test !~ /\// && (action == "pass" || action == "fail") { keep(key) }
test != "" && action == "pass" { passed++; delete said[key] }
test != "" && action == "skip" {
    skipped++
    why = said[key]
    gsub(/=== (RUN|PAUSE|CONT)[^\n]*\n/, "", why)
    gsub(/--- SKIP[^\n]*\n/, "", why)
    gsub(/[ \t\n]+/, " ", why)
    printf "skip\t%s:%s\n", key, why
    delete said[key]
}
test != "" && action == "fail" {
    failed++
    printf "%s", said[key]
    delete said[key]
}
test == "" && action == "fail" { broken++ }

END {
    # A test that was running when its process died has no result.
    for (key in said) if (said[key] ~ /panic|fatal error|DATA RACE/) printf "%s", said[key]
    printf "\nlongest:\n"
    for (i = 1; i <= longest; i++) printf "  %5d s  %s\n", slow[i], slowest[i]
    printf "\n%d passed, %d failed, %d skipped", passed, failed, skipped
    if (broken) printf ", %d packages failed", broken
    printf "\n"
    exit (failed > 0 || broken > 0 || passed == 0)
}
