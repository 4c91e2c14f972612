#!/usr/bin/env bash
# Writes what the built programs know about solvers and jobs into the pages, and prints the pages that it changed:
#   bilevel/solver/<name>/<name>.md   the options, between <!-- options:begin --> and <!-- options:end -->; in a page
#                                     without these lines the first table under `## Options` is replaced, or one is put
#                                     there
#   docs/<job>.md                     the options of a job, likewise
#   docs/solvers.md                   the list of solvers, between <!-- solvers:begin --> and <!-- solvers:end -->
#   docs/choose.md                    what their theories assume, between <!-- assumptions:begin --> and
#                                     <!-- assumptions:end -->
#   docs/add-a-solver.md              the files of its example, as they stand in tests/add_a_solver
#   docs/add-a-job.md                 likewise of tests/add_a_job
# tests/docs_test.cpp and the test add_a_solver fail where a page is out of date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly program=build/bilevel
readonly extra_root=tests/add_a_solver
readonly extra_program=build/tests/extra_program  # knows the solver of docs/add-a-solver.md too

# install_page WRITTEN PAGE: puts a new text in place of a page.
install_page() {
  if ! cmp -s "$1" "$2"; then
    cat "$1" > "$2"
    echo "$2"
  fi
  rm -f "$1"
}

# write_table PAGE MARK HEADING: the table is read from standard input.
write_table() {
  local page=$1 written
  written=$(mktemp)
  awk -v mark="$2" -v heading="$3" '
    function put() {
      if (done) return
      print "<!-- " mark ":begin -->"
      printf "%s", table
      print "<!-- " mark ":end -->"
      done = 1
    }
    FNR == NR { table = table $0 "\n"; next }
    { lines[++n] = $0; if ($0 == "<!-- " mark ":begin -->") marked = 1 }
    END {
      for (i = 1; i <= n; ++i) {
        line = lines[i]
        if (marked) {
          if (line == "<!-- " mark ":begin -->") { put(); skip = 1 }
          if (!skip) print line
          if (line == "<!-- " mark ":end -->") skip = 0
          continue
        }
        if (inside && !done && line ~ /^\|/) { put(); skip = 1; continue }  # the table that stands there
        if (skip && line ~ /^\|/) continue
        skip = 0
        if (inside && !done && line ~ /^## /) { put(); print "" }  # none stood there
        print line
        if (line == heading) inside = 1
      }
      if (inside && !done) { print ""; put() }
      exit !done
    }' - "$page" > "$written" || {
    rm -f "$written"
    echo "docs_tables.sh: $page has neither the lines of $2 nor the heading '$3'" >&2
    return 1
  }
  install_page "$written" "$page"
}

# copy_files PAGE FOLDER: the block of code after a line that ends with "`FILE`:" becomes that file of the folder.
copy_files() {
  local page=$1 written
  written=$(mktemp)
  awk -v folder="$2" '
    skip { if ($0 == "```") { skip = 0; print }; next }
    { print }
    /`[^`]+`:$/ { file = $0; sub(/`:$/, "", file); sub(/.*`/, "", file); next }
    file && /^```/ {
      while ((getline line < (folder "/" file)) > 0) print line
      skip = 1
      file = ""
    }
    $0 != "" { file = "" }' "$page" > "$written"
  install_page "$written" "$page"
}

status=0
for page in bilevel/solver/*/*.md "$extra_root"/bilevel/solver/*/*.md; do
  name=$(basename "$page" .md)
  if [[ $(basename "$(dirname "$page")") != "$name" ]]; then continue; fi
  knows=$program
  if [[ $page == "$extra_root"/* ]]; then knows=$extra_program; fi
  "$knows" list options "$name" --markdown | write_table "$page" options '## Options' || status=1
done
for job in $("$program" list jobs | sed -n 's/^  \([a-z-]*\) .*/\1/p'); do
  "$program" list options "$job" --markdown | write_table "docs/$job.md" options '## Options' || status=1
done
list_of() {  # WHAT: the list, with links to the solvers' pages
  "$program" list "$1" --markdown |
    sed 's/^| \([a-z0-9-]*[a-z0-9]\) |/| [\1](..\/bilevel\/solver\/\1\/\1.md) |/; 1s/^| [^|]* |/| solver |/'
}
list_of solvers | write_table docs/solvers.md solvers '## Solvers' || status=1
list_of assumptions | write_table docs/choose.md assumptions '## Table' || status=1
copy_files docs/add-a-solver.md "$extra_root/bilevel/solver/aid-cg"
copy_files docs/add-a-job.md tests/add_a_job/bilevel/task/ridge
exit "$status"
