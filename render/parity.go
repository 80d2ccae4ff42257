package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// maxGrouped is how many changes of one result are compared with one another. A result has fewer as a
// rule, and of more than these too few are shown for it to matter.
const maxGrouped = 10_000

// grouped finds what the targets of a result, and the stamps within them, do alike.
func grouped(result *operation.Result, regions []string) plan.Grouping {
	if result == nil || len(result.Targets) < 2 && len(regions) < 2 {
		return plan.Grouping{}
	}
	n := 0
	for _, target := range result.Targets {
		n += len(target.ChangeSet.Changes)
	}
	if n > maxGrouped {
		return plan.Grouping{}
	}
	return plan.GroupTargets(result.Targets, regions)
}

// member is a target, or one stamp within it.
type member struct {
	target operation.Target
	stamp  string
}

// repeats says which members of a grouping are shown where.
type repeats struct {
	first  map[member]plan.Member   // of a member that is not the first of its group: the first
	others map[member][]plan.Member // of a first member: the others
	stamps map[operation.Target][]string
}

func repeatsIn(grouping plan.Grouping) repeats {
	r := repeats{
		first: map[member]plan.Member{}, others: map[member][]plan.Member{}, stamps: map[operation.Target][]string{},
	}
	for _, group := range grouping.Groups {
		leader := group.Members[0]
		for i, one := range group.Members {
			if one.Stamp != "" {
				r.stamps[one.Target] = append(r.stamps[one.Target], one.Stamp)
			}
			if i > 0 {
				r.first[member{one.Target, one.Stamp}] = leader
			}
		}
		if len(group.Members) > 1 {
			r.others[member{leader.Target, leader.Stamp}] = group.Members[1:]
		}
	}
	return r
}

// of is the member that a change of a target belongs to.
func (r repeats) of(target operation.Target, change operation.Change) member {
	for _, stamp := range r.stamps[target] {
		if strings.HasPrefix(change.Address, stamp+".") {
			return member{target, stamp}
		}
	}
	return member{target, ""}
}

// same is the target that does exactly what this one does and is shown before it.
func (r repeats) same(target operation.TargetResult) (operation.Target, bool) {
	var other operation.Target
	if target.ChangeSet.Omitted > 0 || len(target.ChangeSet.Changes) == 0 {
		return other, false
	}
	for i, change := range target.ChangeSet.Changes {
		leader, ok := r.first[r.of(target.Target, change)]
		if !ok || leader.Target == target.Target || i > 0 && leader.Target != other {
			return operation.Target{}, false
		}
		other = leader.Target
	}
	return other, true
}

// once divides the changes of a target into those that are shown here, each run of them below words about
// where else they are made, and words about those that are shown elsewhere.
func (r repeats) once(target operation.TargetResult) ([]caused, []string) {
	if len(r.first) == 0 {
		return []caused{{changes: target.ChangeSet.Changes}}, nil
	}
	var shown []caused
	var elsewhere []string
	counts := map[member]int{}
	last := member{}
	for _, change := range target.ChangeSet.Changes {
		belongs := r.of(target.Target, change)
		if _, ok := r.first[belongs]; ok {
			counts[belongs]++
			continue
		}
		if len(shown) == 0 || belongs != last {
			shown = append(shown, caused{head: r.alsoIn(belongs)})
			last = belongs
		}
		shown[len(shown)-1].changes = append(shown[len(shown)-1].changes, change)
	}
	for _, stamp := range append([]string{""}, r.stamps[target.Target]...) {
		one := member{target.Target, stamp}
		if n := counts[one]; n > 0 {
			leader := r.first[one]
			elsewhere = append(elsewhere, nameOf(plan.Member{Target: one.target, Stamp: stamp}, leader.Target)+": the same "+
				several(n, "change", "changes")+" as "+nameOf(leader, target.Target))
		}
	}
	return shown, elsewhere
}

// alsoIn says where else a member's changes are made: "the same in westeurope and southeastasia".
func (r repeats) alsoIn(one member) string {
	others := r.others[one]
	if len(others) == 0 {
		return ""
	}
	const most = 12
	var names []string
	for i, other := range others {
		if i == most {
			names = append(names, several(len(others)-most, "other", "others"))
			break
		}
		if other.Region != "" && other.Target == one.target {
			names = append(names, other.Region)
			continue
		}
		names = append(names, nameOf(other, one.target))
	}
	return "the same in " + list(names)
}

// nameOf names a member for a reader who looks at a target.
func nameOf(one plan.Member, here operation.Target) string {
	switch {
	case one.Stamp != "" && one.Target == here:
		return one.Stamp
	case one.Stamp != "":
		return one.Stamp + " of " + one.Target.Root
	case one.Target == here:
		return "what is outside of the modules of regions"
	case one.Target.Root == here.Root:
		return one.Target.String()
	}
	return one.Target.Root
}

// parity shows where the stamps of one module do not change alike.
func parity(grouping plan.Grouping, limit int) *piece {
	if len(grouping.Differences) == 0 {
		return fixed("")
	}
	var shapes, news, onlyValues []string
	for _, stamp := range byStamp(grouping.Differences) {
		if line, ok := newStamp(grouping, stamp); ok {
			news = append(news, line)
			continue
		}
		for _, alike := range byObject(stamp) {
			if line, ok := valuesOnly(alike); ok {
				onlyValues = append(onlyValues, line)
				continue
			}
			shapes = append(shapes, shapeLine(alike))
		}
	}
	lines := slices.Concat(shapes, onlyValues, news)
	head := "The stamps change alike, but for this:"
	if len(shapes) > 0 {
		head = "**The stamps do not change alike, and stamps must stay identical:**"
	}
	show := func(k int) string {
		text := head + "\n\n" + strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + several(len(lines)-k, "difference", "differences") + " more\n"
		}
		return text
	}
	shortest := head + " " + several(len(lines), "difference", "differences") + "."
	return shrinking(rankTable, len(lines), limit, show, shortest)
}

// byStamp gathers the differences of one stamp in one target.
func byStamp(differences []plan.Difference) [][]plan.Difference {
	return gather(differences, func(d plan.Difference) string { return d.Target.Environment + "\x00" + d.Stamp })
}

// byObject gathers the differences of one object.
func byObject(differences []plan.Difference) [][]plan.Difference {
	return gather(differences, func(d plan.Difference) string {
		return d.Change.Address + "\x00" + d.Change.Deposed
	})
}

func gather(differences []plan.Difference, key func(plan.Difference) string) [][]plan.Difference {
	var groups [][]plan.Difference
	at := map[string]int{}
	for _, difference := range differences {
		name := key(difference)
		i, ok := at[name]
		if !ok {
			i = len(groups)
			at[name] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], difference)
	}
	return groups
}

// newStamp recognises a region that is added or taken away as a whole while the others stay as they are.
func newStamp(grouping plan.Grouping, stamp []plan.Difference) (string, bool) {
	first := stamp[0]
	for _, difference := range stamp {
		if difference.Change.Action != first.Change.Action || !slices.Equal(difference.Regions, first.Regions) {
			return "", false
		}
	}
	for _, group := range grouping.Groups {
		for _, one := range group.Members {
			if slices.Contains(first.Missing, one.Region) && strings.HasPrefix(one.Stamp, first.Stamp+"[") && one.Target == first.Target {
				return "", false
			}
		}
	}
	var fate string
	switch first.Change.Action {
	case operation.Create:
		fate = " comes to "
	case operation.Delete:
		fate = " goes away from "
	default:
		return "", false
	}
	return "- " + code(first.Stamp) + fate + list(inProse(first.Regions)) +
		"; nothing of it changes in " + list(inProse(first.Missing)) + ".\n", true
}

func inProse(regions []string) []string {
	words := make([]string, len(regions))
	for i, region := range regions {
		words[i] = prose(region)
	}
	return words
}

// valuesOnly says in which attributes an object differs that each region changes.
func valuesOnly(alike []plan.Difference) (string, bool) {
	regions := map[string]bool{}
	for _, difference := range alike {
		for _, region := range difference.Regions {
			regions[region] = true
		}
	}
	if slices.ContainsFunc(alike, func(d plan.Difference) bool { return !sameShape(d.Change, alike[0].Change) }) {
		return "", false
	}
	if len(alike) < 2 || len(regions) < len(alike[0].Regions)+len(alike[0].Missing) {
		return "", false
	}
	const most = 6
	var paths []string
	differing := differingPaths(alike)
	for i, path := range differing {
		if i == most {
			paths = append(paths, several(len(differing)-most, "other", "others"))
			break
		}
		paths = append(paths, code(path))
	}
	if len(paths) == 0 {
		paths = append(paths, "other reasons")
	}
	change := alike[0].Change
	return "- " + code(change.Address) + " is " + prose(verbOf(change)) + " in each region, with another " + list(paths) + ".\n", true
}

// differingPaths lists the attributes that are not the same in all.
func differingPaths(alike []plan.Difference) []string {
	seen := map[string]map[string]int{}
	for _, difference := range alike {
		for _, a := range difference.Change.Attributes {
			if seen[a.Path] == nil {
				seen[a.Path] = map[string]int{}
			}
			seen[a.Path][fmt.Sprintf("%s\x00%s\x00%t%t", a.Before, a.After, a.Unknown, a.Sensitive)]++
		}
	}
	var paths []string
	for path, texts := range seen {
		if counts := slices.Collect(maps.Values(texts)); len(counts) != 1 || counts[0] != len(alike) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// sameShape reports whether two changes do the same to an object, with whatever values.
func sameShape(a, b operation.Change) bool {
	return a.Action == b.Action && (a.Action != operation.Update || slices.EqualFunc(a.Attributes, b.Attributes,
		func(x, y operation.Attribute) bool { return x.Path == y.Path }))
}

// shapeLine says what each region does to one object, and which do nothing to it.
func shapeLine(alike []plan.Difference) string {
	var parts []string
	missing := alike[0].Missing
	for _, difference := range alike {
		text := prose(verbOf(difference.Change)) + " in " + list(inProse(difference.Regions))
		if paths := changedPaths(difference.Change); paths != "" {
			text += " (" + paths + ")"
		}
		parts = append(parts, text)
		missing = slices.DeleteFunc(slices.Clone(missing), func(region string) bool { return !slices.Contains(difference.Missing, region) })
	}
	text := "- " + code(alike[0].Change.Address) + " is " + strings.Join(parts, ", but ")
	if len(missing) > 0 {
		text += ", not so in " + list(inProse(missing))
	}
	return text + ".\n"
}
