package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
)

// Bounds of the notes of one target: how many, and how long one may be, in bytes.
const (
	MaxNotes = 20
	maxNote  = 400
)

// capNotes keeps the first notes and says how many more there were.
func capNotes(notes []string, text int) []string {
	if notes == nil {
		return nil
	}
	kept := slices.Clone(notes[:min(len(notes), MaxNotes)])
	for i := range kept {
		kept[i] = clip(kept[i], min(maxNote, text))
	}
	if left := len(notes) - len(kept); left > 0 {
		kept[len(kept)-1] = fmt.Sprintf("and %d more notes", left+1)
	}
	return kept
}

// clockNotes names what makes a plan another each time it is made, where it has a change that this can be about.
func (j *job) clockNotes(ctx context.Context, task operation.TargetTask, changes []operation.Change) []string {
	if len(changes) == 0 {
		return nil
	}
	calls, err := terraform.ClockCalls(ctx, terraform.TreeReader(j.tree), task.Dir)
	if err != nil {
		return nil // a note is not worth a failure
	}
	var notes []string
	for _, call := range calls {
		if concerns(call, changes) {
			notes = append(notes, clockNote(call, task.Dir))
		}
	}
	return notes
}

// clockNote is one call in words.
func clockNote(call terraform.ClockCall, root string) string {
	where := "`" + call.Address + "`"
	if call.Argument != "" {
		where = "`" + call.Argument + "` of " + where
	}
	if call.Dir != root {
		where += " in `" + call.Dir + "`"
	}
	if call.Function == "timestamp" {
		return where + " is `timestamp()`, which is known only during the apply: what uses it changes with every apply"
	}
	return where + " is `plantimestamp()`, which is new with each plan: what uses it is another value when it is applied"
}

// concerns reports whether a call can be behind one of the changes. Of a resource or data source its own change says so;
// a local value, an output or an argument of a module can be behind any.
func concerns(call terraform.ClockCall, changes []operation.Change) bool {
	kind, _, _ := strings.Cut(call.Address, ".")
	if slices.Contains([]string{"local", "module", "output", "variable", "provider", "check"}, kind) {
		return true
	}
	return slices.ContainsFunc(changes, func(change operation.Change) bool {
		address := change.Address
		if strings.HasSuffix(address, "]") { // the key of an instance
			address = address[:strings.LastIndexByte(address, '[')]
		}
		return address == call.Address || strings.HasSuffix(address, "."+call.Address)
	})
}

// versionNotes names what is not the version with which the expected changes were planned.
func versionNotes(reviewed []operation.Tool, p *planned, binary string) []string {
	now := tools([]planned{*p}, binary)
	var notes []string
	for _, tool := range now {
		var then []string
		for _, old := range reviewed {
			if old.Name == tool.Name {
				then = append(then, old.Version)
			}
		}
		if len(then) > 0 && !slices.Contains(then, tool.Version) {
			notes = append(notes, fmt.Sprintf("`%s` is version %s here; what was reviewed was planned with %s",
				tool.Name, tool.Version, strings.Join(then, " and ")))
		}
	}
	return notes
}
