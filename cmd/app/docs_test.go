package main_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/settings"
)

const top = "../.."

// pages are all pages that people read, but for the records of decisions.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(top + "/docs/*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("no documentation: %v", err)
	}
	return append(found, top+"/README.md")
}

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// generated is a part of a page that is made from the code.
var generated = regexp.MustCompile(`(?s)(<!-- generated: ([a-z0-9 /.-]+) -->\n).*?(<!-- end -->\n)`)

// TestWhatTheCodeSaysIsWhatTheDocumentationSays makes each generated part of each page anew, runs every
// `$ switchyard` line and compares what stands below it, and checks that every `$ make` line names a target.
func TestWhatTheCodeSaysIsWhatTheDocumentationSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, match := range fence.FindAllStringSubmatch(page(t, top+"/README.md"), -1) {
		if match[2] == "yaml" && strings.HasPrefix(match[3], "version:") {
			write(t, filepath.Join(dir, repoconfig.Path), match[3])
		}
	}
	write(t, filepath.Join(dir, "misspelt.yml"), "version: 1\nenvironmnts:\n  dev: { branch: develop }\nroots: [{ dir: src/terraform }]\n")
	makefile := page(t, top+"/Makefile")
	for _, name := range pages(t) {
		old := page(t, name)
		got := generated.ReplaceAllStringFunc(old, func(part string) string {
			match := generated.FindStringSubmatch(part)
			content, err := content(match[2])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return match[1] + strings.TrimSpace(content) + "\n" + match[3]
		})
		got = fence.ReplaceAllStringFunc(got, func(block string) string {
			match := fence.FindStringSubmatch(block)
			if match[2] != "console" {
				return block
			}
			return match[1] + "```console\n" + played(t, dir, makefile, match[1], match[3]) + match[1] + "```"
		})
		same(t, name, got)
	}
	schema, err := repoconfig.Schema()
	if err != nil {
		t.Fatal(err)
	}
	same(t, top+"/docs/switchyard.schema.json", string(schema))
}

// content makes one generated part.
func content(name string) (string, error) {
	word, rest, _ := strings.Cut(name, " ")
	switch word {
	case "settings":
		return settings.Reference(), nil
	case "configuration":
		return repoconfig.Reference()
	case "commands":
		return commandTable()
	case "pairs":
		return pairTable()
	case "pushes":
		return environmentTable()
	case "states":
		return stateTable(), nil
	case "diagram":
		return stateDiagram(), nil
	case "metrics":
		return metricTable(), nil
	case "answer": // what a comment is answered, as the golden files of the rooms have it
		data, err := os.ReadFile(filepath.Join(top, rest))
		return quoted(string(data)), err
	default:
		return "", fmt.Errorf("nothing is generated that is called %q", name)
	}
}

// quoted is a comment as a quotation, without the marker that nobody sees.
func quoted(text string) string {
	text = strings.TrimSpace(regexp.MustCompile(`(?s)<!--.*?-->`).ReplaceAllString(text, ""))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("> "+line, " ")
	}
	return strings.Join(lines, "\n")
}

// usual is the mapping that the pages explain; support branches and the literal release are mapped to show their rules.
const usual = `version: 1
environments:
  dev:  { branch: develop }
  test: { branch: [release, "release/*"] }
  prod: { branch: main }
  old:  { branch: "support/*" }
roots: [{ dir: src/terraform, backend: { key: "{environment}" } }]
`

func commandTable() (string, error) {
	config, err := repoconfig.Parse([]byte(usual))
	if err != nil {
		return "", fmt.Errorf("read the usual configuration: %w", err)
	}
	help := commands.Help(config, commands.Person{Login: "you", Permission: "admin"})
	var table strings.Builder
	table.WriteString("| command | least permission | what it does |\n| --- | --- | --- |\n")
	rows := regexp.MustCompile("(?m)^\\| (`/([a-z-]+)[^`]*`) \\| (.*) \\|$").FindAllStringSubmatch(help, -1)
	if len(rows) != len(commands.Names()) {
		return "", fmt.Errorf("help shows %d commands of %d", len(rows), len(commands.Names()))
	}
	for _, row := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", row[1], config.Permission(row[2]), row[3])
	}
	return table.String(), nil
}

func pairTable() (string, error) {
	config, err := repoconfig.Parse([]byte(usual))
	if err != nil {
		return "", fmt.Errorf("read the usual configuration: %w", err)
	}
	heads := []struct{ words, branch string }{
		{"`feature/*`, `feat/*`, `chore/*`, `docs/*`, `refactor/*`, `test/*`, `dependabot/*`, `renovate/*`", "feature/x"},
		{"`fix/*`, `bugfix/*`", "fix/x"},
		{"`develop`", "develop"},
		{"`release/*`", "release/1.1"},
		{"`release`", "release"},
		{"`hotfix/*`", "hotfix/x"},
		{"`main`, `master`", "main"},
		{"`support/*`", "support/1.x"},
		{"any other name", "patch-1"},
	}
	bases := []string{"develop", "release/1.0", "release", "main", "support/2.x"}
	var table strings.Builder
	table.WriteString("| from ↓ into → | `develop` | `release/*` | `release` | `main` | `support/*` |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, head := range heads {
		table.WriteString("| " + head.words + " |")
		for _, base := range bases {
			decision := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: head.branch, To: base},
				gitflow.Facts{OpenReleases: []string{"release/1.0"}})
			word := "–"
			if decision.Verdict == gitflow.Allowed {
				word = "yes"
			}
			table.WriteString(" " + word + " |")
		}
		table.WriteString("\n")
	}
	return table.String(), nil
}

func environmentTable() (string, error) {
	config, err := repoconfig.Parse([]byte(usual))
	if err != nil {
		return "", fmt.Errorf("read the usual configuration: %w", err)
	}
	var table strings.Builder
	table.WriteString("| branch | a pull request into it | a push to it, so also a merge |\n| --- | --- | --- |\n")
	for _, branch := range []struct{ words, name, from string }{
		{"`develop`", "develop", "feature/x"},
		{"`release/*`, `release`", "release/1.0", "fix/x"},
		{"`main`", "main", "hotfix/x"},
		{"any branch that the configuration does not name", "feature/x", "feature/y"},
	} {
		facts := gitflow.Facts{OpenReleases: []string{"release/1.0"}}
		pull := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: branch.from, To: branch.name}, facts)
		push := gitflow.DecidePush(config, gitflow.Push{Branch: branch.name}, facts)
		plans, applies := "plans nothing", "applies nothing"
		if pull.Environment != "" {
			plans = "plans " + pull.Environment
		}
		if push.Applies {
			applies = "applies to " + push.Environment
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", branch.words, plans, applies)
	}
	return table.String(), nil
}

// stateWords are the states of an operation with their meaning.
var stateWords = []struct {
	state operation.State
	words string
}{
	{operation.Queued, "waits for its turn; its place in the line is shown"},
	{operation.Running, "its runner is at work"},
	{operation.Unconfirmed, "waits for a person's yes; it holds nothing up meanwhile"},
	{operation.Succeeded, "is done"},
	{operation.Failed, "went wrong, and says why and what to do"},
	{operation.Interrupted, "its outcome is not known, because its runner left no result"},
	{operation.Cancelled, "a person stopped it, or its branch was deleted"},
	{operation.Gathered, "a newer apply of its branch brings its commits"},
	{operation.Superseded, "a newer commit made its plan pointless"},
}

func stateTable() string {
	var table strings.Builder
	table.WriteString("| state | meaning | can become |\n| --- | --- | --- |\n")
	for _, from := range stateWords {
		var next []string
		for _, to := range stateWords {
			if from.state.CanBecome(to.state) {
				next = append(next, string(to.state))
			}
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", from.state, from.words, cmp.Or(strings.Join(next, ", "), "nothing: this is an end"))
	}
	return table.String()
}

// stateDiagram is the life of an operation: https://mermaid.js.org/syntax/stateDiagram.html
func stateDiagram() string {
	var diagram strings.Builder
	diagram.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> queued\n")
	for _, from := range stateWords {
		for _, to := range stateWords {
			if from.state.CanBecome(to.state) {
				fmt.Fprintf(&diagram, "    %s --> %s\n", from.state, to.state)
			}
		}
	}
	for _, end := range stateWords {
		if end.state.Ended() {
			fmt.Fprintf(&diagram, "    %s --> [*]\n", end.state)
		}
	}
	return diagram.String() + "```"
}

// fence is a block of code in a page, possibly in a list.
var fence = regexp.MustCompile("(?m)^( *)```([a-z]+)\n((?:[^\n]*\n)*?) *```$")

// TestExamplesOfConfigurationAreValid reads every YAML example as what it is an example of.
func TestExamplesOfConfigurationAreValid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secrets := map[string]string{"SWITCHYARD_WEBHOOK_SECRETS": "x", "SWITCHYARD_PRIVATE_KEY_FILE": key(t, dir)}
	for _, name := range pages(t) {
		for _, match := range fence.FindAllStringSubmatch(page(t, name), -1) {
			example := strings.ReplaceAll("\n"+match[3], "\n"+match[1], "\n")[1:]
			switch {
			case match[2] != "yaml":
			case strings.HasPrefix(example, "version:"):
				if _, err := repoconfig.Parse([]byte(example)); err != nil {
					t.Errorf("%s: %v in\n%s", name, err, example)
				}
			case strings.HasPrefix(example, "app_id:"):
				file := filepath.Join(dir, "settings.yml")
				example = strings.ReplaceAll(example, "/etc/switchyard/private-key.pem", secrets["SWITCHYARD_PRIVATE_KEY_FILE"])
				if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := settings.Load(file, func(name string) (string, bool) {
					value, ok := secrets[name]
					return value, ok && name == "SWITCHYARD_WEBHOOK_SECRETS"
				}); err != nil {
					t.Errorf("%s: %v in\n%s", name, err, example)
				}
			default:
				t.Errorf("%s has YAML that begins neither with version: nor with app_id:, so nothing tests it:\n%s", name, example)
			}
		}
	}
}

// exported are the variables of the examples of a start of the server.
var exported = regexp.MustCompile(`(?m)^ *\$ export (SWITCHYARD_[A-Z_]+)=(.*)$`)

func TestExamplesOfVariablesAreOptions(t *testing.T) {
	t.Parallel()
	file := key(t, t.TempDir())
	for _, name := range pages(t) {
		given := map[string]string{}
		for _, match := range exported.FindAllStringSubmatch(page(t, name), -1) {
			given[match[1]] = strings.ReplaceAll(match[2], "/etc/switchyard/private-key.pem", file)
		}
		if len(given) == 0 {
			continue
		}
		environ := make([]string, 0, len(given))
		for variable, value := range given {
			environ = append(environ, variable+"="+value)
		}
		_, err := settings.Load("", func(name string) (string, bool) { value, ok := given[name]; return value, ok })
		if err := errors.Join(err, settings.CheckNames(environ)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// played is a console block with what its commands print now.
func played(t *testing.T, dir, makefile, indent, block string) string {
	t.Helper()
	var text strings.Builder
	skip := false
	for line := range strings.Lines(block) {
		command, isCommand := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if !isCommand {
			if !skip {
				text.WriteString(line)
			}
			continue
		}
		text.WriteString(line)
		args := words(command)
		skip = args[0] == "switchyard" && !slices.Contains([]string{"serve", "sandbox"}, args[1])
		if args[0] == "make" && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(args[1])+`:`).MatchString(makefile) {
			t.Errorf("there is no target for `%s`", command)
		}
		if !skip {
			continue
		}
		stdout, stderr, _ := call{dir: dir, args: args[1:]}.switchyard(t)
		for line := range strings.Lines(stdout + stderr) {
			text.WriteString(indent + line)
		}
	}
	return text.String()
}

// words splits a command line at blanks outside of quotes.
func words(line string) []string {
	var split []string
	for _, word := range regexp.MustCompile(`"[^"]*"|'[^']*'|[^ ]+`).FindAllString(line, -1) {
		split = append(split, strings.Trim(word, `"'`))
	}
	return append(split, "", "")[:max(2, len(split))]
}

// links are addresses of files in this repository.
var links = regexp.MustCompile(`(?:\]\(|src="|srcset=")([^)"#:]+)(?:#[^)"]*)?[)"]`)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range pages(t) {
		for _, match := range links.FindAllStringSubmatch(generated.ReplaceAllString(page(t, name), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), match[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestTheTableOfPairsAgreesWithTheGoldenPairs holds the page against what the room of GitFlow keeps.
func TestTheTableOfPairsAgreesWithTheGoldenPairs(t *testing.T) {
	t.Parallel()
	golden := page(t, top+"/gitflow/testdata/pairs.txt")
	for cell, verdict := range map[string]string{
		"feature/a → develop": "allowed", "feature/a → main": "refused", "fix/a → release/1.0": "allowed", "develop → release": "allowed",
		"develop → release/1.0": "refused", "hotfix/a → main": "allowed", "hotfix/a → develop": "allowed", "release/1.0 → main": "allowed",
		"main → develop": "allowed", "support/1.x → main": "refused", "patch-1 → develop": "refused",
	} {
		if !strings.Contains(golden, verdict+"   "+cell+":") {
			t.Errorf("gitflow does not say %s to %s any more: look at docs/gitflow.md", verdict, cell)
		}
	}
	if strings.Count(golden, "\nallowed ")+strings.Count(golden, "\nrefused ") < 80 {
		t.Error("gitflow/testdata/pairs.txt holds hardly any pairs")
	}
}

func TestTheSchemaIsJSON(t *testing.T) {
	t.Parallel()
	stdout, _, status := call{args: []string{"schema"}}.switchyard(t)
	if status != 0 || !json.Valid([]byte(stdout)) || stdout != page(t, top+"/docs/switchyard.schema.json") {
		t.Errorf("switchyard schema does not print docs/switchyard.schema.json (status %d)", status)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
