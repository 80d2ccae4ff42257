package commands

import (
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Help lists, in Markdown, the commands that this repository's configuration lets this person give, but for those that do not work there.
func Help(cfg repoconfig.Config, p Person, without ...string) string {
	var page strings.Builder
	var missing []string
	page.WriteString("Write a command as the first line of a new comment, alone or with text below it.\n\n")
	page.WriteString("| command | what it does |\n| --- | --- |\n")
	for _, name := range Names() {
		if slices.Contains(without, name) {
			continue
		}
		d := decision{cfg: cfg, c: Command{Name: name}, p: p}
		if d.mayNot() != "" {
			missing = append(missing, needs(cfg, name))
			continue
		}
		if d.notHere() == "" {
			fmt.Fprintf(&page, "| `%s` | %s |\n", usage(name), formOf(name).does)
		}
	}
	page.WriteString("\n")
	environments := make([]string, 0, len(cfg.Environments))
	for _, environment := range cfg.Environments {
		environments = append(environments, code(environment.Name)+" ("+list(environment.Branches)+")")
	}
	fmt.Fprintf(&page, "Environments and their branches: %s.\n", strings.Join(environments, ", "))
	if len(missing) > 0 {
		fmt.Fprintf(&page, "\nYou cannot give %s: %s %s.\n", strings.Join(missing, ", "), code(p.Login), has(p.Permission))
	}
	if cfg.Default {
		fmt.Fprintf(&page, "\nThis repository has no `%s`, so Switchyard only plans and applies nothing.\n", repoconfig.Path)
	}
	return page.String()
}

// needs names a command with what it asks for.
func needs(cfg repoconfig.Config, name string) string {
	asks := cfg.Permission(name)
	if teams := cfg.Commands[name].Teams; len(teams) > 0 {
		asks += " and a team of " + list(slices.Clone(teams))
	}
	return fmt.Sprintf("`/%s` (needs %s)", name, asks)
}
