package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// lent is the one commit of a fork that somebody who may do so asked to have planned, with the comment that says so.
type lent struct {
	Head    string `json:"head"`
	Comment int64  `json:"comment"`
	By      string `json:"by"`
}

// planned reports whether code of the pull request may be planned: that of this repository, and of a fork the commit that was asked for.
func (f pullFacts) planned() bool { return !f.Fork || f.Lent != nil && f.Lent.Head == f.Head }

// maxForkTexts bounds how many files of Terraform are read to say which of them a person should read first.
const maxForkTexts = 500

// planFork answers `/plan --fork SHA`: it says what the commit changes, and then has exactly that one planned.
func (d *Deploy) planFork(ctx context.Context, r request) (string, error) {
	if r.Pull.State != "open" {
		return render.PlanAnswer(render.PlanAnswerView{Reason: "This pull request is " + r.Pull.State + ", and only open ones are planned."}), nil
	}
	view := commands.ForkView{Head: r.Command.Fork, Now: r.Pull.HeadSHA, Environment: r.Command.Environment, By: r.Author}
	if view.Head == view.Now {
		if err := d.lookAtFork(ctx, r, &view); err != nil {
			return "", err
		}
	}
	if refusal := commands.ForkRefusal(view); refusal != "" {
		return refusal, nil
	}
	text := commands.ForkAnswer(view)
	if err := d.answer(ctx, r.CommentMade, text); err != nil { // before anything of it runs
		return "", err
	}
	seen := PullSeen{
		Repository: r.Repository, Number: r.Number, Again: r.Author, First: r.Command.Root,
		lent: &lent{Head: view.Head, Comment: r.Comment, By: r.Author},
	}
	return text, d.reviewPull(ctx, seen, r.Pull, r.Branch)
}

// lookAtFork finds out what a plan of the pull request's head would run.
func (d *Deploy) lookAtFork(ctx context.Context, r request, view *commands.ForkView) error {
	known, err := d.facts(ctx, r.Repository)
	if err != nil {
		return err
	}
	decision := gitflow.DecidePullRequest(r.Config.Config,
		gitflow.PullRequest{From: r.Pull.HeadRef, To: r.Pull.BaseRef, Fork: true, Lent: true}, known)
	if decision.Verdict == gitflow.Refused || decision.Environment == "" {
		view.Reason = strings.Join(append(decision.Reasons[:min(1, len(decision.Reasons))], decision.Remedy), " ")
		return nil
	}
	base, ok, err := d.Git.Branch(ctx, r.Repository, r.Pull.BaseRef)
	if err != nil || !ok {
		return wrap("find the base branch", err)
	}
	merge, err := d.Git.Merge(ctx, r.Repository, base, r.Pull.HeadSHA)
	if err != nil {
		return fmt.Errorf("merge the fork: %w", err)
	}
	if len(merge.Conflicts) > 0 {
		view.Reason = "It cannot be merged. Next: have its author solve the conflicts."
		return nil
	}
	files, err := d.changed(ctx, r.Repository, base, merge.Tree)
	if err != nil {
		return err
	}
	roots, err := d.rootsAt(ctx, r.Repository, r.Config.Config, decision.Environment, merge.Tree, files)
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		view.Reason = "It changes no root."
	}
	texts := 0
	for _, name := range files {
		file := commands.ForkFile{Path: name}
		if commands.IsTerraform(name) && texts < maxForkTexts {
			texts++
			if text, there, err := d.Git.ReadFile(ctx, r.Repository, merge.Tree, name); err == nil && there {
				file.Text = string(text) // what cannot be read, a link or a file that goes away, is listed all the same
			} else if ctx.Err() != nil {
				return wrap("read "+name, ctx.Err())
			}
		}
		view.Files = append(view.Files, file)
	}
	return nil
}

// lentBy gives the comment that asked for a plan of a fork's commit; false where the plan is of this repository's own code. The error says
// that it is a fork's and nobody asked for this commit: whatever has led to the operation, nothing is begun.
func (d *Deploy) lentBy(ctx context.Context, op operation.Operation) (operation.Word, bool, error) {
	if op.Kind.Exclusive() || op.Pull == 0 {
		return operation.Word{}, false, nil
	}
	facts, ok, err := d.pullFacts(ctx, op.Repository, op.Pull)
	if err != nil || !ok || !facts.Fork {
		return operation.Word{}, false, err
	}
	if facts.Lent == nil || facts.Lent.Head != op.Head {
		return operation.Word{}, false, &hub.NeedsPerson{
			What:   fmt.Sprintf("#%d comes from a fork, and nobody asked for a plan of its commit %s.", op.Pull, op.Head),
			Remedy: "Read the code of its newest commit; then comment `/plan --fork` with that whole commit behind it.",
		}
	}
	return operation.Word{Comment: facts.Lent.Comment, Login: facts.Lent.By}, true, nil
}
