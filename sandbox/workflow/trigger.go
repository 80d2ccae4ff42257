package workflow

import (
	"path"
	"slices"
	"strings"
)

// Event is one happening that may start workflows.
type Event struct {
	Name   string
	Action string   // activity type; empty where the event has none
	Branch string   // pushed branch, or base branch of a pull request or merge group; empty otherwise
	Tag    string   // pushed tag
	Paths  []string // that changed
}

// defaultTypes are the activity types that start a workflow which names none. Of other events all do.
// https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
var defaultTypes = map[string][]string{
	"pull_request": {"opened", "synchronize", "reopened"},
	"merge_group":  {"checks_requested"},
}

// Starts reports whether the event starts the workflow.
func (w *Workflow) Starts(e Event) bool {
	trigger, ok := w.On[e.Name]
	if !ok {
		return false
	}
	types := trigger.Types
	if len(types) == 0 {
		types = defaultTypes[e.Name]
	}
	if len(types) > 0 && !slices.Contains(types, e.Action) {
		return false
	}
	return trigger.takesRef(e) && trigger.takesPaths(e)
}

func (t Trigger) takesRef(e Event) bool {
	switch {
	case e.Tag != "":
		if len(t.Tags) == 0 && len(t.TagsIgnore) == 0 {
			return len(t.Branches) == 0 && len(t.BranchesIgnore) == 0
		}
		return chosen(t.Tags, e.Tag) && !slices.ContainsFunc(t.TagsIgnore, func(p string) bool { return Match(p, e.Tag) })
	case e.Branch != "":
		if e.Name == "push" && len(t.Branches) == 0 && len(t.BranchesIgnore) == 0 {
			return len(t.Tags) == 0 && len(t.TagsIgnore) == 0
		}
		return chosen(t.Branches, e.Branch) && !slices.ContainsFunc(t.BranchesIgnore, func(p string) bool { return Match(p, e.Branch) })
	default:
		return true
	}
}

// takesPaths holds the changed paths to the filters; GitHub ignores them for tags.
func (t Trigger) takesPaths(e Event) bool {
	if e.Tag != "" || e.Name != "push" && e.Name != "pull_request" {
		return true
	}
	if len(t.Paths) > 0 && !slices.ContainsFunc(e.Paths, func(p string) bool { return chosen(t.Paths, p) }) {
		return false
	}
	return len(t.PathsIgnore) == 0 || slices.ContainsFunc(e.Paths, func(p string) bool {
		return !slices.ContainsFunc(t.PathsIgnore, func(pattern string) bool { return Match(pattern, p) })
	})
}

// chosen reports whether the patterns take a name: the last one that matches decides, and ! refuses. None takes all.
func chosen(patterns []string, name string) bool {
	taken := len(patterns) == 0
	for _, pattern := range patterns {
		refused, negative := strings.CutPrefix(pattern, "!")
		if Match(refused, name) {
			taken = !negative
		}
	}
	return taken
}

// Match matches a filter pattern: * stands for anything but a slash, ** for anything.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet
func Match(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if rest, all := strings.CutPrefix(pattern, "**"); all {
		rest = strings.TrimPrefix(rest, "/") // **/x matches x, too
		for i := range len(name) + 1 {
			if Match(rest, name[i:]) {
				return true
			}
		}
		return false
	}
	if rest, within := strings.CutPrefix(pattern, "*"); within {
		for i := range len(name) + 1 {
			if Match(rest, name[i:]) {
				return true
			}
			if i < len(name) && name[i] == '/' {
				return false
			}
		}
		return false
	}
	return name != "" && pattern[0] == name[0] && Match(pattern[1:], name[1:])
}

// MatchPolicy matches the name pattern of a deployment branch policy, as Ruby's File.fnmatch with paths does: * and ? stop
// at slashes, **/ goes through directories.
// https://docs.github.com/en/rest/deployments/branch-policies#create-a-deployment-branch-policy
func MatchPolicy(pattern, name string) bool {
	if rest, deep := strings.CutPrefix(pattern, "**/"); deep {
		for {
			if MatchPolicy(rest, name) {
				return true
			}
			_, after, more := strings.Cut(name, "/")
			if !more {
				return false
			}
			name = after
		}
	}
	segment, rest, more := strings.Cut(pattern, "/")
	first, after, deeper := strings.Cut(name, "/")
	matched, err := path.Match(segment, first)
	if err != nil || !matched || more != deeper {
		return false
	}
	return !more || MatchPolicy(rest, after)
}
