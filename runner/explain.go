package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/terraform"
)

// readOptions is what the plan of a target is read with.
func (j *job) readOptions(task operation.TargetTask) plan.Options {
	options := plan.Options{Checkout: j.work.tree(), Beside: filepath.Dir(j.work.dir), Keep: MaxChanges}
	if j.task.Kind == operation.Apply && task.Expected != nil {
		options.Reviewed = *task.Expected
	}
	return options
}

// explain finds the cause of each change of an apply. Where something is not covered by what was reviewed, the target is
// planned once more at once, to learn which values are another in each plan; the first plan is the one that is applied.
func (j *job) explain(ctx context.Context, task operation.TargetTask, p *planned) error {
	facts := plan.Facts{
		Data: task.Data, Reviewed: j.task.Reviewed, Present: tools([]planned{*p}, j.task.Terraform.Path),
		Lost: j.lost(ctx, task), Moved: movedState(task, p),
		Binding: j.task.Binding, Stateful: j.task.Stateful, Block: j.task.Block, Approved: task.Approved,
	}
	if task.Expected != nil {
		facts.Expected = *task.Expected
	}
	explained, err := plan.Explain(facts, p.read, nil)
	if err != nil {
		return fmt.Errorf("find the causes of changes: %w", err)
	}
	if explained.Uncertain {
		again, err := j.planAgain(ctx, task, p)
		if err != nil {
			return fmt.Errorf("plan once more, to learn which values are another in each plan: %w", err)
		}
		if explained, err = plan.Explain(facts, p.read, &again); err != nil {
			return fmt.Errorf("find the causes of changes: %w", err)
		}
	}
	p.result.ChangeSet.Changes = explained.Changes
	p.result.Unexpected, p.result.Tolerated = explained.Asked, explained.Tolerated
	p.result.UnexpectedOmitted, p.result.UnexpectedDigest = explained.Omitted, explained.Digest
	p.result.Risks, p.result.Blocked, p.result.Held = explained.Risks, explained.Blocked, explained.Held
	return nil
}

// movedState says how the state was written to since the last apply; empty where it was not, or that is not known.
func movedState(task operation.TargetTask, p *planned) string {
	switch {
	case task.Serial == 0 || p.result.Lineage == task.Lineage && p.result.Serial == task.Serial:
		return ""
	case p.result.Lineage != task.Lineage:
		return "the state is another one than the last apply left"
	default:
		return fmt.Sprintf("the state was changed outside of Switchyard: its serial is %d, and the last apply left %d",
			p.result.Serial, task.Serial)
	}
}

// lost lists the resources that were protected by prevent_destroy before, and are not any more.
func (j *job) lost(ctx context.Context, task operation.TargetTask) []string {
	if len(task.Protected) == 0 {
		return nil
	}
	now, err := terraform.Protected(ctx, terraform.TreeReader(j.tree), task.Dir)
	if err != nil {
		return nil // the configuration was read before: what cannot be read now was not planned either
	}
	var lost []string
	for _, resource := range task.Protected {
		if !slices.Contains(now, resource) {
			_, name, _ := strings.Cut(resource, ":")
			lost = append(lost, name)
		}
	}
	return lost
}

// planAgain makes a second plan, without the state lock and not to be applied, and reads it. Terraform gives the time of a
// plan in whole seconds, so the second plan is made in another second than the first.
// https://developer.hashicorp.com/terraform/language/functions/plantimestamp
func (j *job) planAgain(ctx context.Context, task operation.TargetTask, p *planned) (again plan.Plan, err error) {
	if made, err := time.Parse(time.RFC3339, p.read.Made); err == nil {
		if wait := made.Add(time.Second).Sub(j.clock.Now()); wait > 0 && wait <= time.Second {
			select {
			case <-ctx.Done():
				return plan.Plan{}, context.Cause(ctx) //nolint:wrapcheck // ours
			case <-j.clock.After(wait):
			}
		}
	}
	options, err := j.planOptions(ctx, task)
	if err != nil {
		return plan.Plan{}, err
	}
	reading := j.readOptions(task)
	reading.Keep = 1 // it is only looked up what the second plan has for a change of the first
	options.Out, options.Lock = j.work.path("plans", targetKey(task.Target)+".again.tfplan"), false
	took, err := j.progress.step(&task.Target, StepPlan, func() error { return p.root.Plan(ctx, options) })
	p.result.Timings.Plan += took
	if err != nil {
		return plan.Plan{}, err
	}
	took, err = j.progress.step(&task.Target, StepShow, func() error {
		return p.root.Show(ctx, options.Out, func(r io.Reader) (err error) {
			again, err = plan.Read(r, reading)
			return err //nolint:wrapcheck // the caller says what was read
		})
	})
	p.result.Timings.Show += took
	if err != nil {
		return plan.Plan{}, err
	}
	if err := os.Remove(filepath.Clean(options.Out)); err != nil {
		return plan.Plan{}, fmt.Errorf("remove the second plan: %w", err)
	}
	return again, nil
}
