package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// regionPlaceholder stands for the name of a region where stamps are compared.
const regionPlaceholder = "{region}"

// Grouping is what several targets do, told once where it is the same.
type Grouping struct {
	Groups      []Group // by their first members, in the order of targets, then of regions
	Differences []Difference
}

// Group is what its members do alike.
type Group struct {
	Members []Member
	Changes []operation.Change // of the first member, as they are
}

// Member is one target, or the part of one that is in one region.
type Member struct {
	Target operation.Target
	Stamp  string // address of the instance of a module that is one region's; empty: what of the target is in no such module
	Region string // empty where it belongs to none
}

// Difference is a change that not all stamps of one module, or of one root, have.
type Difference struct {
	Stamp   string           // the module's address, or the root's name, with {region} for the region
	Target  operation.Target // the first one that has it
	Change  operation.Change // with {region} for the region's name
	Regions []string         // which have it, in the order of the configuration
	Missing []string         // which do not
}

// GroupTargets finds what targets, and regional stamps within them, do alike, apart from the region's name. A stamp is an instance of
// a module call with a region's name as its key (module.stamp["westeurope"]), or a root with a region's name in its own.
// Of stamps, the changes that not all of them have are listed as differences: a region of the configuration without any
// change is one that lacks them all. Targets whose changes were capped are compared as a whole, by digest. Causes do not count.
func GroupTargets(targets []operation.TargetResult, regions []string) Grouping {
	var result Grouping
	index := map[string]int{} // by what makes members alike → place in result.Groups
	var stamps []stamp
	at := map[string]int{}
	for _, part := range parts(targets, regions) {
		if len(part.changes) == 0 && part.whole == "" {
			continue
		}
		alike := part.whole
		if alike == "" {
			alike = part.kind + "\x00" + Digest(part.plain)
		}
		if i, known := index[alike]; known {
			result.Groups[i].Members = append(result.Groups[i].Members, part.member)
		} else {
			index[alike] = len(result.Groups)
			result.Groups = append(result.Groups, Group{Members: []Member{part.member}, Changes: part.changes})
		}
		if part.kind == "" || part.member.Region == "" || part.whole != "" {
			continue
		}
		i, known := at[part.kind]
		if !known {
			i = len(stamps)
			at[part.kind] = i
			stamps = append(stamps, stamp{name: part.name})
		}
		stamps[i].parts = append(stamps[i].parts, part)
	}
	for _, s := range stamps {
		result.Differences = append(result.Differences, s.differences(regions)...)
	}
	return result
}

// part is the changes of one member.
type part struct {
	member  Member
	kind    string             // parts of one kind are stamps of one thing; empty for what is none
	name    string             // of that thing
	whole   string             // for what cannot be taken apart: what it is compared by
	changes []operation.Change // as they are
	plain   []operation.Change // with {region}
}

// parts takes targets apart into what belongs to one region each, and the rest.
func parts(targets []operation.TargetResult, regions []string) []part {
	var all []part
	for _, target := range targets {
		set := target.ChangeSet
		if set.Omitted > 0 {
			all = append(all, part{member: Member{Target: target.Target}, whole: "digest\x00" + set.Digest, changes: set.Changes})
			continue
		}
		own := regionIn(target.Target.Root, regions)
		rest := part{member: Member{Target: target.Target, Region: own}}
		if own != "" {
			rest.name = inRegion(target.Target.Root, own, regions)
			rest.kind = "root\x00" + target.Target.Environment + "\x00" + rest.name
		}
		var found []part
		for _, change := range set.Changes {
			call, region := stampOf(change.Address, regions)
			if region == "" {
				rest.add(change, own, regions)
				continue
			}
			i := slices.IndexFunc(found, func(p part) bool { return p.member.Region == region && p.name == call })
			if i < 0 {
				i = len(found)
				found = append(found, part{
					member: Member{Target: target.Target, Region: region, Stamp: call + "[" + quote(region) + "]"},
					name:   call, kind: "module\x00" + target.Target.String() + "\x00" + call,
				})
			}
			found[i].add(change, region, regions)
		}
		slices.SortStableFunc(found, func(a, b part) int {
			return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(slices.Index(regions, a.member.Region), slices.Index(regions, b.member.Region)))
		})
		all = append(append(all, found...), rest)
	}
	return all
}

func (p *part) add(change operation.Change, region string, regions []string) {
	p.changes = append(p.changes, change)
	p.plain = append(p.plain, plainChange(change, region, regions))
}

// stamp is all parts of one kind.
type stamp struct {
	name  string
	parts []part
}

// differences lists the changes that not each region has, in the order of the parts.
func (s stamp) differences(regions []string) []Difference {
	var list []Difference
	at := map[string]int{}
	for _, part := range s.parts {
		for _, change := range part.plain {
			key := encode(change)
			i, known := at[key]
			if !known {
				i = len(list)
				at[key] = i
				list = append(list, Difference{Stamp: s.name, Target: part.member.Target, Change: change})
			}
			if !slices.Contains(list[i].Regions, part.member.Region) {
				list[i].Regions = append(list[i].Regions, part.member.Region)
			}
		}
	}
	list = slices.DeleteFunc(list, func(d Difference) bool { return len(d.Regions) >= len(regions) })
	for i := range list {
		for _, region := range regions {
			if !slices.Contains(list[i].Regions, region) {
				list[i].Missing = append(list[i].Missing, region)
			}
		}
	}
	return list
}

// stampOf finds the first module in an address whose key is a region: the address of the call, and the region.
func stampOf(address string, regions []string) (call, region string) {
	for _, name := range regions {
		key := "[" + quote(name) + "]"
		before, _, found := strings.Cut(address, key+".")
		if !found || !strings.Contains(before, "module.") || region != "" && len(before) >= len(call) {
			continue
		}
		if parts := steps(before); len(parts) >= 2 && len(parts)%2 == 0 && parts[len(parts)-2] == "module" {
			call, region = before, name
		}
	}
	return call, region
}

// regionIn is the region that a root's name has in it; empty when there is none, or more than one.
func regionIn(root string, regions []string) string {
	found := ""
	for _, region := range regions {
		if inRegion(root, region, regions) != root {
			if found != "" {
				return ""
			}
			found = region
		}
	}
	return found
}

// inRegion replaces a region's name, but not where it is part of the name of another.
func inRegion(text, region string, regions []string) string {
	if region == "" || !strings.Contains(text, region) {
		return text
	}
	var out strings.Builder
	for text != "" {
		longest := ""
		for _, name := range regions {
			if len(name) > len(longest) && strings.HasPrefix(text, name) {
				longest = name
			}
		}
		switch longest {
		case "":
			out.WriteByte(text[0])
			text = text[1:]
			continue
		case region:
			out.WriteString(regionPlaceholder)
		default:
			out.WriteString(longest)
		}
		text = text[len(longest):]
	}
	return out.String()
}

// plainChange is a change with the placeholder in place of the region's name, and without its cause.
func plainChange(change operation.Change, region string, regions []string) operation.Change {
	plain := func(text string) string { // a value that has the placeholder in it by itself must not pass for a region's name
		return inRegion(strings.ReplaceAll(text, "{region", "{region'"), region, regions)
	}
	change.Cause = nil
	change.Address, change.PreviousAddress, change.ImportID = plain(change.Address), plain(change.PreviousAddress), plain(change.ImportID)
	change.ReplacePaths = slices.Clone(change.ReplacePaths)
	for i, path := range change.ReplacePaths {
		change.ReplacePaths[i] = plain(path)
	}
	change.Attributes = slices.Clone(change.Attributes)
	for i, attribute := range change.Attributes {
		attribute.Path = plain(attribute.Path)
		attribute.Before = json.RawMessage(plain(string(attribute.Before)))
		attribute.After = json.RawMessage(plain(string(attribute.After)))
		change.Attributes[i] = attribute
	}
	return change
}
