package commands_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/commands"
)

func TestAnAnswerAboutAForkNamesWhatIsDangerousFirst(t *testing.T) {
	t.Parallel()
	text := commands.ForkAnswer(commands.ForkView{
		Head: strings.Repeat("a", 40), Environment: "dev", By: "ana",
		Files: []commands.ForkFile{
			{Path: "README.md"},
			{Path: "infra/plain.tf", Text: "resource \"terraform_data\" \"x\" {}"},
			{Path: "infra/Module.TF", Text: "module \"m\" {\n  source = \"git::https://example.com/m\"\n}"},
			{Path: "infra/hidden.tf.json", Text: `{"resource":{"terraform_data":{"x":{"provisioner":[]}}}}`},
			{Path: "infra/who.tf", Text: "data \"external\" \"who\" {}"},
			{Path: ".github/workflows/own.yml"},
			{Path: "infra/`code`\n- trusted.tf"},
		},
		Omitted: 3,
	})
	last := -1
	for _, want := range []string{
		"**Exactly `" + strings.Repeat("a", 40) + "` is planned, because `ana` asked for it.**", "changes 10 files",
		"`.github/workflows/own.yml`: runs in GitHub Actions", "`infra/who.tf`: starts a program", "`infra/hidden.tf.json`: has a provisioner",
		"`infra/Module.TF`: names where modules", "- `infra/plain.tf`\n", "- `README.md`\n", "- and 3 more",
	} {
		at := strings.Index(text, want)
		if at <= last {
			t.Errorf("%q is missing, or too early, in\n%s", want, text)
		}
		last = at
	}
	if strings.Contains(text, "\n- trusted") {
		t.Errorf("the name of a file wrote a line of its own:\n%s", text)
	}
}

func TestOnlyTheNewestCommitOfAForkIsPlanned(t *testing.T) {
	t.Parallel()
	head, other := strings.Repeat("a", 40), strings.Repeat("b", 40)
	if said := commands.ForkRefusal(commands.ForkView{Head: head, Now: head}); said != "" {
		t.Errorf("refused: %s", said)
	}
	if said := commands.ForkRefusal(commands.ForkView{Head: other, Now: head}); !strings.Contains(said, "is not the newest commit") ||
		!strings.Contains(said, "comment `/plan --fork "+head+"`") {
		t.Errorf("got %q", said)
	}
	if said := commands.ForkRefusal(commands.ForkView{Head: head, Now: head, Reason: "It changes no root."}); !strings.Contains(said, "It changes no root.") {
		t.Errorf("got %q", said)
	}
}
