package plan

import (
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Promoted compares what an apply does with what the apply of the same content did in an earlier stage. It
// counts the changes that are the same there but for the stage's name, and lists what differs: attributes by
// their address and path, and changes that the other one lacks by their address, sorted.
func Promoted(now, then operation.ChangeSet, environment, stage string) (same int, differs []string) {
	for _, change := range now.Changes {
		if change.Action == operation.Read || change.Action == operation.Output {
			continue
		}
		i := slices.IndexFunc(then.Changes, func(other operation.Change) bool {
			return other.Address == change.Address && other.Deposed == change.Deposed && other.Action == change.Action
		})
		if i < 0 {
			differs = append(differs, change.Address)
			continue
		}
		paths := attributesThatDiffer(change, then.Changes[i], environment, stage)
		if len(paths) == 0 {
			same++
		}
		for _, path := range paths {
			differs = append(differs, change.Address+"."+path)
		}
	}
	slices.Sort(differs)
	return same, slices.Compact(differs)
}

// attributesThatDiffer lists the paths that one of two changes of the same object changes and the other does
// not, or to another value. What was before may differ: it is what the stages had.
func attributesThatDiffer(now, then operation.Change, environment, stage string) []string {
	value := func(a operation.Attribute) string {
		switch {
		case a.Sensitive:
			return "sensitive" // whether it is the same is not known: a difference would be a guess
		case a.Unknown, a.Volatile:
			return "unknown"
		}
		return canonical(a.After)
	}
	var paths []string
	for _, attribute := range now.Attributes {
		i := slices.IndexFunc(then.Attributes, func(other operation.Attribute) bool { return other.Path == attribute.Path })
		if i < 0 || value(attribute) != strings.ReplaceAll(value(then.Attributes[i]), stage, environment) &&
			value(attribute) != value(then.Attributes[i]) {
			paths = append(paths, attribute.Path)
		}
	}
	for _, attribute := range then.Attributes {
		if !slices.ContainsFunc(now.Attributes, func(other operation.Attribute) bool { return other.Path == attribute.Path }) {
			paths = append(paths, attribute.Path)
		}
	}
	return paths
}
