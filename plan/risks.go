package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// ruleOrder is the order in which risks are shown, the worst first.
var ruleOrder = []operation.RiskRule{
	operation.RiskReplaceStateful, operation.RiskDestroyStateful, operation.RiskUnprotected, operation.RiskPublic,
	operation.RiskAccess, operation.RiskForget, operation.RiskReplace, operation.RiskDestroy,
}

// Risks lists the dangers of a set's changes, the worst rules first, then by address. stateful are types of resources that
// hold data, beside those of the table in stateful.go. Of an update only what changes is known: what it leaves as it is
// counts as dangerous where the danger needs both. A sensitive or unknown value tells nothing.
func Risks(set operation.ChangeSet, stateful []string) []operation.Risk {
	found := danger{stateful: stateful}
	found.of(set.Changes)
	return found.all()
}

// Risks lists the dangers of all changes of a plan, also of those that its set leaves out, see the function Risks; and of resources
// that prevent_destroy does not keep any more: lost has TYPE.NAME of each, as a plan's JSON has no lifecycle and the caller has read the
// configuration, before and now. An error says that changes which are held packed could not be taken out.
func (p Plan) Risks(stateful, lost []string) ([]operation.Risk, error) {
	found := danger{stateful: stateful, lost: lost}
	if err := p.each(func(changes []operation.Change) error {
		found.of(changes)
		return nil
	}); err != nil {
		return nil, err
	}
	return found.all(), nil
}

// danger collects the risks of changes.
type danger struct {
	stateful []string
	lost     []string // see Plan.Risks

	risks   []operation.Risk
	ended   []operation.Risk // of lost
	touched map[string]bool  // those of lost that a change is about
	reasons map[string]string
}

// of adds the risks of changes, and gives just these.
func (d *danger) of(changes []operation.Change) []operation.Risk {
	before, lostBefore := len(d.risks), len(d.ended)
	for _, change := range changes {
		d.change(change)
		d.protection(change)
	}
	return slices.Concat(d.risks[before:], d.ended[lostBefore:])
}

// all are the risks of all changes that were looked at.
func (d *danger) all() []operation.Risk {
	for _, name := range d.lost {
		if !d.touched[name] {
			d.ended = append(d.ended, lostRisk(name))
		}
	}
	sortRisks(d.ended)
	all := slices.Concat(d.risks, slices.Compact(d.ended))
	sortRisks(all)
	return all
}

func (d *danger) change(change operation.Change) {
	kind, data := typeOf(change.Address)
	if data || change.Action == operation.Output || change.Action == operation.Read {
		return
	}
	add := func(rule operation.RiskRule, reason string) {
		d.risks = append(d.risks, operation.Risk{
			Address: change.Address, Deposed: change.Deposed, Action: change.Action, Rule: rule, Reason: d.once(reason),
		})
	}
	endOfObject(change, kind, d.stateful, add)
	if change.Action == operation.Move || change.Action == operation.Import || change.Action == operation.Forget {
		return
	}
	accessRisk(change, kind, add)
	protectionRisk(change, kind, add)
	if change.Action != operation.Delete {
		publicRisk(change, kind, add)
	}
}

// protection adds the risk of a change of something that lost its protection.
func (d *danger) protection(change operation.Change) {
	if len(d.lost) == 0 {
		return
	}
	plain := unkeyed(change.Address)
	for _, name := range d.lost {
		if plain != name && (!strings.HasPrefix(plain, "module.") || !strings.HasSuffix(plain, "."+name)) {
			continue
		}
		if d.touched == nil {
			d.touched = map[string]bool{}
		}
		d.touched[name] = true
		risk := lostRisk(change.Address)
		risk.Deposed, risk.Action = change.Deposed, change.Action
		d.ended = append(d.ended, risk)
	}
}

func lostRisk(address string) operation.Risk {
	return operation.Risk{
		Address: address, Rule: operation.RiskUnprotected, Reason: "`prevent_destroy` does not keep it from being destroyed any more.",
	}
}

// once gives the same reason in the same memory: there are few, and a plan may have many thousand risks.
func (d *danger) once(reason string) string {
	if known, found := d.reasons[reason]; found {
		return known
	}
	if d.reasons == nil {
		d.reasons = map[string]string{}
	}
	d.reasons[reason] = reason
	return reason
}

func sortRisks(risks []operation.Risk) {
	slices.SortStableFunc(risks, func(a, b operation.Risk) int {
		return cmp.Or(
			cmp.Compare(slices.Index(ruleOrder, a.Rule), slices.Index(ruleOrder, b.Rule)),
			cmp.Compare(a.Address, b.Address), cmp.Compare(a.Deposed, b.Deposed),
		)
	})
}

// note adds a risk of the change that is looked at.
type note func(rule operation.RiskRule, reason string)

// endOfObject is the danger of an object that ceases to be, or that Terraform lets go of.
func endOfObject(change operation.Change, kind string, stateful []string, add note) {
	holds, known := statefulKind(kind)
	if !known && slices.Contains(stateful, kind) {
		holds, known = "it is named in this repository's configuration as one that holds data", true
	}
	switch change.Action {
	case operation.Forget:
		add(operation.RiskForget, "It stays as it is, but Terraform will not look after it any more.")
	case operation.Delete:
		if known {
			add(operation.RiskDestroyStateful, "It is destroyed, and "+holds+".")
		} else {
			add(operation.RiskDestroy, "It is destroyed.")
		}
	case operation.Replace, operation.ReplaceCreateFirst:
		if known {
			add(operation.RiskReplaceStateful, "It is destroyed and made anew, and "+holds+".")
		} else {
			add(operation.RiskReplace, "It is destroyed and made anew.")
		}
	case operation.Create, operation.Update, operation.Read, operation.Move, operation.Import, operation.Output:
	}
}

// accessRisk is the danger of who may do what.
func accessRisk(change operation.Change, kind string, add note) {
	if why := accessOf(kind); why != "" {
		add(operation.RiskAccess, why)
		return
	}
	if change.Action == operation.Create || change.Action == operation.Delete {
		return // what nobody has used, or will use any more
	}
	for _, attribute := range change.Attributes {
		if parts := steps(attribute.Path); parts[0] == "identity" || parts[0] == "identity_ids" {
			if name := lastStep(attribute.Path); attribute.Unknown && (name == "principal_id" || name == "tenant_id") {
				continue // the cloud gives them
			}
			add(operation.RiskAccess, "The identity that it acts as changes.")
			return
		}
	}
}

// protectionRisk is the danger of what guards against mistakes going away.
func protectionRisk(change operation.Change, kind string, add note) {
	if lockTypes[kind] {
		if change.Action != operation.Create {
			add(operation.RiskUnprotected, "The lock that keeps something from being changed or deleted by mistake goes away or changes.")
		}
		return
	}
	if change.Action == operation.Create || change.Action == operation.Delete {
		return
	}
	for _, attribute := range change.Attributes {
		name := lastStep(attribute.Path)
		if protections[name] && isBool(attribute.After, false) && !isBool(attribute.Before, false) {
			add(operation.RiskUnprotected, fmt.Sprintf("The protection `%s` is turned off.", name))
			return
		}
	}
}

// publicRisk is the danger of being reached from the public network.
func publicRisk(change operation.Change, kind string, add note) {
	if reason := openedSwitch(change); reason != "" {
		add(operation.RiskPublic, reason)
		return
	}
	if strings.HasSuffix(kind, "_firewall_rule") {
		if start := attributeAt(change, "start_ip_address", "start_ip"); textOf(start) == "0.0.0.0" {
			add(operation.RiskPublic, "The firewall rule begins at 0.0.0.0, which lets in all of Azure or all of the Internet.")
			return
		}
	}
	for _, group := range ruleGroups(change, kind) {
		if opens(group, change.Action == operation.Update) {
			add(operation.RiskPublic, "A security rule lets in traffic from any address.")
			return
		}
	}
}

// openedSwitch names an attribute that is set to let the public in, and did not before. New objects do not count: most
// kinds are public unless told otherwise, and a review sees what is new.
func openedSwitch(change operation.Change) string {
	if change.Action == operation.Create {
		return ""
	}
	for _, attribute := range change.Attributes {
		name := lastStep(attribute.Path)
		before, after := textOf(attribute.Before), textOf(attribute.After)
		switch {
		case publicSwitches[name] && isBool(attribute.After, true) && !isBool(attribute.Before, true),
			publicSwitches[name] && strings.EqualFold(after, "Enabled") && !strings.EqualFold(before, "Enabled"),
			privateSwitches[name] && isBool(attribute.After, false) && !isBool(attribute.Before, false):
			return fmt.Sprintf("`%s` opens it to the public network.", name)
		case name == "default_action" && strings.EqualFold(after, "Allow") && !strings.EqualFold(before, "Allow"):
			return "Its network rules let in every network that they do not name."
		case name == "container_access_type" && after != "" && !strings.EqualFold(after, "private") &&
			(before == "" || strings.EqualFold(before, "private")):
			return "Anybody can read what is in it without signing in."
		}
	}
	return ""
}

// ruleGroups gathers, of each security rule in a change, the attributes that change, by name.
func ruleGroups(change operation.Change, kind string) map[string]map[string]operation.Attribute {
	if !strings.Contains(kind, "security_rule") && !strings.Contains(kind, "security_group") {
		return nil
	}
	groups := map[string]map[string]operation.Attribute{}
	for _, attribute := range change.Attributes {
		group, name := "", attribute.Path
		if kind != "azurerm_network_security_rule" && !strings.HasSuffix(kind, "security_group_rule") {
			end := strings.LastIndex(attribute.Path, "].")
			if end < 0 {
				continue
			}
			group, name = attribute.Path[:end+1], attribute.Path[end+2:]
			if cut := strings.IndexByte(group, '['); cut >= 0 && strings.Count(group, "[") > 1 { // an address in a list of the rule
				continue
			}
		}
		name, _, _ = strings.Cut(name, "[")
		if groups[group] == nil {
			groups[group] = map[string]operation.Attribute{}
		}
		if earlier, there := groups[group][name]; !there || !anywhere(textOf(earlier.After)) { // of a list the widest counts
			groups[group][name] = attribute
		}
	}
	return groups
}

// opens reports whether a security rule lets anybody in, and did not before. Of an update, attributes that do not
// change are taken for the worst, but one of them must become worse.
func opens(rule map[string]operation.Attribute, update bool) bool {
	worse := false
	for _, condition := range []struct {
		names []string
		open  func(string) bool
	}{
		{[]string{"direction", "type"}, func(v string) bool { return strings.EqualFold(v, "Inbound") || strings.EqualFold(v, "ingress") }},
		{[]string{"access"}, func(v string) bool { return strings.EqualFold(v, "Allow") }},
		{[]string{"source_address_prefix", "source_address_prefixes", "cidr_blocks", "ipv6_cidr_blocks"}, anywhere},
	} {
		open, known := false, false
		for _, name := range condition.names {
			attribute, changes := rule[name]
			if !changes || len(attribute.After) == 0 {
				continue
			}
			known = true
			if condition.open(textOf(attribute.After)) {
				open = true
				worse = worse || !condition.open(textOf(attribute.Before))
			}
		}
		absent := !known && condition.names[0] == "access" && hasCIDR(rule) // such rules have no other kind
		if !open && !absent && (known || !update) {
			return false
		}
	}
	return worse
}

// hasCIDR reports whether a rule is of a cloud whose rules only allow.
func hasCIDR(rule map[string]operation.Attribute) bool {
	_, four := rule["cidr_blocks"]
	_, six := rule["ipv6_cidr_blocks"]
	return four || six
}

// anywhere reports whether an address prefix has every address of the Internet in it.
// https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview
func anywhere(prefix string) bool {
	switch strings.ToLower(prefix) {
	case "*", "internet", "any", "0.0.0.0/0", "::/0", "0.0.0.0":
		return true
	}
	return false
}

// attributeAt is the new value of the first of these attributes that changes.
func attributeAt(change operation.Change, paths ...string) json.RawMessage {
	for _, attribute := range change.Attributes {
		if slices.Contains(paths, attribute.Path) {
			return attribute.After
		}
	}
	return nil
}

// lastStep is the name at the end of a path, without indexes.
func lastStep(path string) string {
	parts := steps(path)
	return parts[len(parts)-1]
}

// textOf is a value that is a string; empty for any other.
func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

func isBool(raw json.RawMessage, want bool) bool {
	return string(raw) == strconv.FormatBool(want)
}
