package commands

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Decide decides about a comment that Parse says is for us; parseErr is the error of Parse.
// Whether there is anything to apply, cancel or unlock now is deploy's to see.
func Decide(cfg repoconfig.Config, c Command, parseErr error, p Person, t Thread) Decision {
	d := decision{cfg: cfg, c: c, p: p, t: t}
	if p.Bot {
		return Decision{Command: c, Ignore: true}
	}
	if parseErr != nil {
		return Decision{Command: c, Refusal: d.misread(parseErr)}
	}
	if !slices.Contains(Names(), c.Name) {
		return Decision{Command: c, Ignore: true}
	}
	for _, check := range []func() string{d.mayNot, d.notHere, d.resolve} {
		if refusal := check(); refusal != "" {
			return Decision{Command: c, Refusal: refusal}
		}
	}
	return Decision{Do: c.Name, Command: d.c}
}

// decision is a comment that is being decided about. Each check gives the refusal, or "".
type decision struct {
	cfg repoconfig.Config
	c   Command
	p   Person
	t   Thread
}

func (d *decision) misread(parseErr error) string {
	var usage *UsageError
	if !errors.As(parseErr, &usage) {
		return "**The command was not understood.** Next: comment `/help` to see how commands are written."
	}
	if usage.WantsEnvironment {
		return usage.Message + " Next: " + d.withEnvironment(usage.Name)
	}
	return usage.Message
}

// mayNot refuses who may not give the command.
func (d *decision) mayNot() string {
	needed, teams := d.cfg.Permission(d.c.Name), d.cfg.Commands[d.c.Name].Teams
	name := d.c.Name
	if d.c.Fork != "" && operation.PermissionRank(needed) < operation.PermissionRank(ForkPermission) {
		name, needed = name+" --fork", ForkPermission
	}
	if operation.PermissionRank(d.p.Permission) < operation.PermissionRank(needed) {
		return d.refuse(fmt.Sprintf("%s %s, and `/%s` needs %s permission.", code(d.p.Login), has(d.p.Permission), name, needed),
			fmt.Sprintf("ask somebody with %s permission to comment it.", needed))
	}
	if len(teams) > 0 && !slices.ContainsFunc(teams, func(team string) bool { return slices.Contains(d.p.Teams, team) }) {
		return d.refuse(fmt.Sprintf("`%s` lets only people of the teams %s give `/%s`, and %s is in none of them.",
			repoconfig.Path, list(teams), d.c.Name, code(d.p.Login)), "ask one of them to comment it.")
	}
	return ""
}

func has(permission string) string {
	switch {
	case permission == "" || permission == "none":
		return "has no permission on this repository"
	case operation.PermissionRank(permission) == 0:
		return "has the role " + code(permission) + " on this repository, which Switchyard does not know"
	}
	return "has " + permission + " permission on this repository"
}

// notHere refuses what makes no sense in this repository or this thread.
func (d *decision) notHere() string {
	switch {
	case d.cfg.Default && slices.Contains([]string{"apply", "unlock", "break-lease", "approve-replace", "confirm"}, d.c.Name):
		return d.refuse(fmt.Sprintf("This repository has no `%s`, so Switchyard only plans and applies nothing.", repoconfig.Path),
			"add that file to the default branch.")
	case d.c.Name != "plan":
		return ""
	case d.t.Issue:
		return d.refuse("A plan belongs to a pull request, and this is an issue.", "comment it on a pull request.")
	case d.c.Fork != "" && !d.t.Fork:
		return d.refuse("This pull request comes from this repository, and `--fork` is for those of forks.", "comment `/plan`.")
	case d.t.Fork && d.c.Fork == "":
		return d.refuse("This pull request comes from a fork, and its code would run with what a plan can read.",
			"read the code of its newest commit; then have somebody with "+ForkPermission+" permission comment `/plan --fork` with that "+
				"whole commit behind it.")
	default:
		return ""
	}
}

// resolve checks the names of environments and roots, and fills in what the thread says.
func (d *decision) resolve() string {
	switch d.c.Name {
	case "plan":
		return d.resolvePlan()
	case "approve-replace":
		if len(d.cfg.Risk.Block) == 0 {
			return d.refuse(fmt.Sprintf("`%s` holds no change back, because it has no `risk: { block: […] }`.", repoconfig.Path),
				"comment `/status` to see what waits, and for what.")
		}
		return d.unknownRoot()
	case "break-lease":
		if refusal := d.unknownEnvironment(); refusal != "" {
			return refusal
		}
		return d.unknownRoot()
	case "apply", "unlock", "status", "cancel":
		if d.c.Environment != "" {
			return d.unknownEnvironment()
		}
		if d.c.Name != "cancel" {
			return "" // status of all; apply and unlock always name one
		}
		if d.t.Environment == "" {
			return d.refuse("It names no environment, and "+d.noEnvironment()+".", d.withEnvironment("cancel"))
		}
		d.c.Environment = d.t.Environment
	}
	return ""
}

func (d *decision) resolvePlan() string {
	if _, known := d.cfg.Environment(d.c.Environment); !known && d.c.Root == "" && d.c.Environment != "" {
		if dir := path.Clean(d.c.Environment); d.isRoot(dir) {
			d.c.Environment, d.c.Root = "", dir // `/plan src/terraform`
		}
	}
	if d.c.Environment != "" {
		if refusal := d.unknownEnvironment(); refusal != "" {
			return refusal
		}
	}
	if d.t.Environment == "" {
		return d.refuse("There is nothing to plan, because "+d.noEnvironment()+".",
			fmt.Sprintf("choose a base branch that deploys to an environment, or add this one to `%s`.", repoconfig.Path))
	}
	if d.c.Environment != "" && d.c.Environment != d.t.Environment {
		return d.refuse(fmt.Sprintf("A pull request is planned for the environment of its base branch only: %s deploys to %s.",
			code(d.t.Base), code(d.t.Environment)), "comment `/plan`.")
	}
	d.c.Environment = d.t.Environment
	return d.unknownRoot()
}

func (d *decision) unknownEnvironment() string {
	if _, known := d.cfg.Environment(d.c.Environment); known {
		return ""
	}
	hint := ""
	if nearest := repoconfig.Nearest(d.c.Environment, d.cfg.EnvironmentNames()); nearest != "" {
		hint = fmt.Sprintf(" Did you mean `%s`?", nearest)
	}
	return d.refuse(fmt.Sprintf("There is no environment %s.%s", code(d.c.Environment), hint),
		"name one of "+list(d.cfg.EnvironmentNames())+".")
}

func (d *decision) unknownRoot() string {
	if d.c.Root == "" {
		return ""
	}
	dirs := make([]string, 0, len(d.cfg.Roots))
	for _, root := range d.cfg.Roots {
		dirs = append(dirs, root.Dir)
	}
	clean := path.Clean(d.c.Root)
	if d.isRoot(clean) {
		d.c.Root = clean
		return ""
	}
	hint := ""
	if nearest := repoconfig.Nearest(clean, dirs); nearest != "" {
		hint = fmt.Sprintf(" Did you mean %s?", code(nearest))
	}
	return d.refuse(fmt.Sprintf("There is no root %s.%s", code(d.c.Root), hint), "choose one of "+list(dirs)+".")
}

func (d *decision) isRoot(dir string) bool {
	_, known := d.cfg.Root(dir)
	return known
}

func (d *decision) noEnvironment() string {
	if d.t.Issue {
		return "an issue belongs to no environment"
	}
	return "the base branch " + code(d.t.Base) + " deploys to no environment"
}

// withEnvironment says how to write a command with the environment that it lacks.
func (d *decision) withEnvironment(name string) string {
	if d.t.Environment != "" {
		return fmt.Sprintf("comment `/%s %s`, or name another of %s.", name, d.t.Environment, list(d.cfg.EnvironmentNames()))
	}
	return fmt.Sprintf("comment `/%s` with one of %s behind it.", name, list(d.cfg.EnvironmentNames()))
}

// refuse is a refusal in its three parts. The next step is a sentence without its capital.
func (d *decision) refuse(why, next string) string {
	return fmt.Sprintf("**%s was not carried out.** %s Next: %s", code(d.c.Line), why, next)
}

// list shows names one after the other, the first few of very many.
func list(names []string) string {
	const most = 20
	shown := make([]string, 0, min(len(names), most))
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, code(name))
	}
	text := strings.Join(shown, ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}
