package commands

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ForkPermission is the least permission of who may have the code of a fork planned. Configuration can ask for more.
const ForkPermission = "maintain"

// ForkFile is a file that a pull request of a fork changes. Text is what it would be; only that of Terraform's files is looked at.
type ForkFile struct {
	Path string
	Text string
}

// ForkView is what a plan of a fork would run.
type ForkView struct {
	Head        string // the commit that the person named
	Now         string // the head of the pull request
	Environment string
	By          string
	Files       []ForkFile
	Omitted     int    // files that nobody looked at, because there are too many
	Reason      string // why there is nothing to plan, one sentence; empty when there is
}

// ForkRefusal says why a commit of a fork is not planned although the person may ask for it; empty when it is.
func ForkRefusal(v ForkView) string {
	line := code("/plan --fork " + v.Head)
	switch {
	case v.Head != v.Now:
		return fmt.Sprintf("**%s was not carried out.** %s is not the newest commit of this pull request, which is %s: only that one is "+
			"planned, and only where somebody names it. Next: read what it changes; then comment `/plan --fork %s`.",
			line, code(v.Head), code(v.Now), v.Now)
	case v.Reason != "":
		return fmt.Sprintf("**%s was not carried out.** %s", line, v.Reason)
	}
	return ""
}

// What a person should read first, by what it can do. All code of Terraform can read what the plan's identity can; these do more at once.
// https://developer.hashicorp.com/terraform/language/resources/provisioners/syntax and
// https://registry.terraform.io/providers/hashicorp/external/latest/docs/data-sources/external
var runsPrograms = []struct {
	form *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`(?i)"external"`), "starts a program while it plans (`external`)"},
	{regexp.MustCompile(`(?i)provisioner|local-exec|remote-exec`), "has a provisioner"},
	{regexp.MustCompile(`(?i)\bsource\b`), "names where modules or providers come from"},
}

// forkRank orders files: what runs elsewhere with more rights, what starts programs, other code of Terraform, the rest.
func forkRank(file ForkFile) (int, string) {
	name := strings.ToLower(file.Path)
	switch {
	case strings.HasPrefix(name, ".github/workflows/"), strings.HasPrefix(name, ".github/actions/"), path.Base(name) == "action.yml",
		path.Base(name) == "action.yaml":
		return 0, "runs in GitHub Actions once it is merged"
	case strings.HasPrefix(name, ".github/"):
		return 0, "says how this repository is run"
	case isTerraform(name):
		for i, rule := range runsPrograms {
			if rule.form.MatchString(file.Text) {
				return i + 1, rule.what
			}
		}
		return len(runsPrograms) + 1, ""
	case path.Base(name) == ".terraform.lock.hcl":
		return len(runsPrograms), "says which providers are taken"
	default:
		return len(runsPrograms) + 2, "" //nolint:mnd // behind all others
	}
}

func isTerraform(name string) bool {
	for _, ending := range []string{".tf", ".tf.json", ".tofu", ".tofu.json", ".tfvars", ".tfvars.json"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// IsTerraform reports whether a file's text matters to ForkAnswer.
func IsTerraform(name string) bool { return isTerraform(strings.ToLower(name)) }

// maxForkFiles bounds how many files an answer lists.
const maxForkFiles = 50

// ForkAnswer says whose code is planned, with what, and what files change: what is dangerous first.
func ForkAnswer(v ForkView) string {
	type ranked struct {
		rank      int
		path, why string
	}
	files := make([]ranked, 0, len(v.Files))
	for _, file := range v.Files {
		rank, why := forkRank(file)
		files = append(files, ranked{rank, file.Path, why})
	}
	slices.SortStableFunc(files, func(a, b ranked) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		return strings.Compare(a.path, b.path)
	})
	var text strings.Builder
	fmt.Fprintf(&text, "**Exactly %s is planned, because %s asked for it.** It is the code of a fork, and it runs with everything that a "+
		"plan for %s can read. A newer commit is not planned before somebody asks for that one.\n\n",
		code(v.Head), code(v.By), code(v.Environment))
	total := len(files) + v.Omitted
	if total == 1 {
		text.WriteString("It changes 1 file:\n")
	} else {
		fmt.Fprintf(&text, "It changes %d files, those to be read first at the top:\n", total)
	}
	for _, file := range files[:min(len(files), maxForkFiles)] {
		text.WriteString("- " + code(file.path))
		if file.why != "" {
			text.WriteString(": " + file.why)
		}
		text.WriteString("\n")
	}
	if more := total - min(len(files), maxForkFiles); more > 0 {
		fmt.Fprintf(&text, "- and %d more\n", more)
	}
	return text.String()
}
