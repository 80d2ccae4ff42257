package commands_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

func TestOnlyTheFirstLineCanBeACommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		ours       bool
	}{
		{"a command alone", "/plan", true},
		{"a command with text below it", "/plan\n\nbecause the provider changed", true},
		{"a command with Windows line ends", "/apply dev\r\nplease", true},
		{"a command with blanks after it", "/plan \t ", true},
		{"a command that a telephone capitalised", "/Plan", true},
		{"a command with a blank that does not break", "/apply\u00a0dev", true},
		{"a command in the second line", "please\n/apply dev", false},
		{"a command after an empty line", "\n/apply dev", false},
		{"an indented command", " /apply dev", false},
		{"an indented code block", "    /apply dev", false},
		{"a quoted command", "> /apply dev", false},
		{"a fenced command", "```\n/apply dev\n```", false},
		{"a command in backticks", "`/apply dev`", false},
		{"a list item", "- /apply dev", false},
		{"a slash alone", "/", false},
		{"a slash and a blank", "/ apply dev", false},
		{"a path", "/etc/passwd is readable", false},
		{"a path that begins like a command", "/plan/out is missing", false},
		{"another app's command", "/lgtm", false},
		{"another app's command that looks a little like ours", "/hold", false},
		{"a comment", "// plan", false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, ours, err := commands.Parse(c.body); ours != c.ours || err != nil {
				t.Errorf("ours: %v, %v; want %v", ours, err, c.ours)
			}
		})
	}
}

func TestConfigurationNeverLowersWhatACommandNeeds(t *testing.T) {
	t.Parallel()
	config := repoconfig.Default()
	config.Default = false
	// Parse refuses such a file; Decide must not rely on that.
	config.Commands = map[string]repoconfig.Command{
		"apply": {Permission: "read"}, "unlock": {Permission: "nonsense"}, "approve-replace": {Permission: "triage"},
	}
	config.Risk.Block = []operation.RiskRule{operation.RiskReplaceStateful}
	for _, name := range commands.Names() {
		for _, permission := range []string{"", "none", "read", "triage", "write", "maintain", "admin", "owner", "Admin", "deployer"} {
			argument := "prod"
			if name == "confirm" {
				argument = "7F3A9K2M"
			}
			c, ours, err := commands.Parse("/" + name + " " + argument)
			if !ours || err != nil {
				t.Fatalf("/%s: %v", name, err)
			}
			thread := commands.Thread{Pull: 1, Base: "main", Environment: "prod"}
			d := commands.Decide(config, c, nil, commands.Person{Login: "ana", Permission: permission}, thread)
			if may := rank(permission) >= rank(least(name)); may != (d.Do == name) {
				t.Errorf("/%s with %q: %+v", name, permission, d)
			}
		}
	}
}

// least is the table of permissions, once more.
func least(name string) string {
	switch name {
	case "plan", "apply", "cancel", "confirm":
		return "write"
	case "unlock", "break-lease", "approve-replace":
		return "maintain"
	default:
		return "read"
	}
}

func rank(permission string) int {
	return strings.Index(" read triage write maintain admin ", " "+permission+" ")
}

func TestEveryCommandInEffectHasAFormAndIsShownByHelp(t *testing.T) {
	t.Parallel()
	config := repoconfig.Default()
	config.Default = false
	page := commands.Help(config, commands.Person{Login: "ana", Permission: "admin"})
	for _, name := range commands.Names() {
		if !strings.Contains(page, "| `/"+name) {
			t.Errorf("help lacks /%s:\n%s", name, page)
		}
	}
	for _, word := range operation.CommandWords() {
		if word.Later && strings.Contains(page, word.Name) {
			t.Errorf("help has /%s, which is not in effect", word.Name)
		}
	}
}

func TestABotGetsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"/apply dev", "/aply dev", "/apply", "/help"} {
		c, _, err := commands.Parse(body)
		d := commands.Decide(repoconfig.Default(), c, err, commands.Person{Login: "x[bot]", Bot: true, Permission: "admin"}, commands.Thread{})
		if !d.Ignore || d.Do != "" || d.Refusal != "" {
			t.Errorf("%s: %+v", body, d)
		}
	}
}

func TestAnErrorThatIsNoUsageErrorIsAnsweredToo(t *testing.T) {
	t.Parallel()
	d := commands.Decide(repoconfig.Default(), commands.Command{Name: "apply"}, errors.New("secret detail"),
		commands.Person{Permission: "admin"}, commands.Thread{})
	if d.Do != "" || d.Refusal == "" || strings.Contains(d.Refusal, "secret") {
		t.Errorf("%+v", d)
	}
}

func FuzzCommands(f *testing.F) {
	for _, seed := range []string{
		"/plan", "/apply prod 7f3a", "/apply prod `7F3A`", "/why module.a[\"b c\"]", "/plan dev src/terraform --fork " + strings.Repeat("a", 40),
		"/aply @everyone", "/plan `" + "x`", "/apply \u202edorp", "/status dev prod", "/cancel\x00", "/unlock -x", "/\xff\xfe", "/APPLY DEV",
		"/apply <!-- x -->", "/approve-replace `a[\"b\"]`", "/approve-replace ``", "/approve-replace\u00a0a", "/break-lease prod src/dns --lock-id=9DB590F1-b6fe-c5f2-2678-8804f089deba --reason the host died", "/break-lease prod —reason \u2028",
		"/brea\u212a-lease prod --reason \"\"", "/confirm `7f3a-9k2m`", "/confirm \u017f", "/" + strings.Repeat("a", 2000), "/apply " + strings.Repeat("a ", 2000), "> /apply dev", "/failover prod",
	} {
		f.Add(seed, "write", false)
		f.Add(seed, "none", true)
	}
	config, err := repoconfig.Parse([]byte(usual))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body, permission string, fork bool) {
		c, ours, parseErr := commands.Parse(body)
		if ours && !strings.HasPrefix(body, "/") || !ours && parseErr != nil {
			t.Fatalf("ours: %v, %v", ours, parseErr)
		}
		var usage *commands.UsageError
		if parseErr != nil && !errors.As(parseErr, &usage) {
			t.Fatalf("%T", parseErr)
		}
		thread := commands.Thread{Pull: 1, Base: "develop", Environment: "dev", Fork: fork}
		d := commands.Decide(config, c, parseErr, commands.Person{Login: "eve", Permission: permission}, thread)
		switch {
		case !ours:
			if d.Do != "" {
				t.Fatalf("carried out what is no command: %+v", d)
			}
			return
		case d.Do == "" && d.Refusal == "":
			t.Fatalf("no answer: %+v", d)
		case d.Do != "" && (parseErr != nil || rank(permission) < rank(least(d.Do))):
			t.Fatalf("carried out: %+v", d)
		case d.Do == "break-lease" && (d.Command.Environment == "" || strings.ContainsFunc(d.Command.Reason, unicode.IsControl)):
			t.Fatalf("breaks: %+v", d)
		case d.Do == "confirm" && len(d.Command.Code) != 8:
			t.Fatalf("confirms: %+v", d)
		case d.Do == "plan" && (fork || d.Command.Environment != "dev"):
			t.Fatalf("planned: %+v", d)
		}
		if _, known := config.Environment(d.Command.Environment); d.Do != "" && d.Command.Environment != "" && !known {
			t.Fatalf("environment %q", d.Command.Environment)
		}
		harmless(t, d.Refusal)
	})
}

// harmless fails where text outside of code spans could mention somebody, hide something or be HTML.
func harmless(t *testing.T, markdown string) {
	t.Helper()
	if strings.Count(markdown, "`")%2 != 0 {
		t.Fatalf("a code span does not end: %s", markdown)
	}
	for i, part := range strings.Split(markdown, "`") {
		if i%2 == 0 && strings.ContainsAny(part, "@<>[]") || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x202E }) {
			t.Fatalf("not harmless: %s", markdown)
		}
	}
}
