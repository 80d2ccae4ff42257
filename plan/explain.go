package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Facts is what an apply knows of the review of one target.
type Facts struct {
	Expected operation.ChangeSet  // the union of what was reviewed; causes of its changes name the pull requests
	Data     map[string]string    // Plan.Data of the reviewed plans
	Reviewed []operation.Tool     // with what they were made; empty: not known
	Present  []operation.Tool     // with what this one was made
	Binding  operation.Binding    // empty is strict
	Stateful []string             // types that hold data, beside those of the table
	Block    []operation.RiskRule // what stops an apply until somebody approves it by address
	Approved []operation.Held     // what somebody approved, which does not stop it
	Moved    string               // how the state was written to since the last apply, in words; empty where it was not
	Lost     []string             // resources that prevent_destroy does not keep any more, see Plan.Risks
}

// Explanation is why each change of a plan is there, and what follows from that. Of each list of changes it has at most as
// many as Options.Keep says, chosen as Cap does.
type Explanation struct {
	Changes   []operation.Change // all of them, in the order of the set
	Tolerated []operation.Change // that nobody reviewed and that need no yes
	Asked     []operation.Change // that nobody reviewed and that need one
	Omitted   int                // how many are left out of Asked
	Digest    string             // of all that need a yes, as Question takes it; empty where there are none
	Risks     []operation.Risk   // of all changes
	Blocked   []string           // addresses with a blocked risk that nobody approved, sorted
	Held      []operation.Held   // what of these has to be approved, by object and rule
	Uncertain bool               // a second plan could tell more
}

// Explain gives each change of the plan of an apply its cause. again is a second plan that was made right after, to
// learn which values are another in each plan; nil where there is none.
//
// A change that a reviewed one covers (see Unexpected, and Options.Reviewed for what is true already) has the cause
// reviewed. Of the others the first of these that holds is the cause: volatile, drift, data, identity, provider, a state
// that was written to since the last apply (which is drift, too), unexplained. With the binding strict, a yes is asked for
// each of them but those that are there only because of volatile values and carry no risk; with no-new-risk for those that
// carry a risk. Where what was reviewed, or the plan, was capped, everything that cannot be compared is asked about, as if
// the binding were strict.
//
// An error says that changes which are held packed could not be taken out.
func Explain(facts Facts, actual Plan, again *Plan) (Explanation, error) {
	cut := actual.Set.Omitted > 0 && actual.all == nil // nobody knows what was left out
	capped := cut || facts.Expected.Omitted > 0
	e := explainer{
		facts: facts, actual: actual, again: again, reviewed: byObject(facts.Expected.Changes), drift: byObject(actual.Drift),
		onlyValues: map[object]bool{}, held: map[object]string{}, capped: capped,
		same: capped && actual.Set.Digest != "" && actual.Set.Digest == facts.Expected.Digest,
		all:  kept{limit: actual.keep}, tolerated: kept{limit: actual.keep}, asked: kept{limit: actual.keep}, sum: newSum(true),
	}
	dangers := danger{stateful: facts.Stateful, lost: facts.Lost}
	err := actual.each(func(changes []operation.Change) error {
		risks := dangers.of(changes)
		if cut && !e.same {
			return nil
		}
		return e.explain(changes, risks)
	})
	if err != nil {
		return Explanation{}, err
	}
	risks := dangers.all()
	result := Explanation{
		Changes: e.all.changes(), Tolerated: e.tolerated.changes(), Asked: e.asked.changes(), Omitted: e.asked.left,
		Risks: risks, Uncertain: e.uncertain,
	}
	result.Blocked, result.Held = e.blocked(risks, cut && !e.same)
	if cut && !e.same {
		result.Asked, result.Changes = unknowable(actual.Set), actual.Set.Changes
		result.Digest, result.Uncertain = digest(result.Asked, true), anyUncertain(result.Asked)
	} else if len(result.Asked) > 0 {
		result.Digest = e.sum.text()
	}
	return result, nil
}

func anyUncertain(changes []operation.Change) bool { return slices.ContainsFunc(changes, uncertain) }

// uncertain reports whether a second plan could tell more about a change that nobody reviewed: whether it sets a value, and
// is not known to be there because of the time.
func uncertain(change operation.Change) bool {
	if change.Action == operation.Output || change.Action == operation.Read || change.Cause.Kind == operation.CauseVolatile {
		return false
	}
	return slices.ContainsFunc(change.Attributes, func(a operation.Attribute) bool { return len(a.After) > 0 && !a.Volatile })
}

// explainer looks for causes in one target.
type explainer struct {
	facts    Facts
	actual   Plan
	again    *Plan
	reviewed map[object][]operation.Change
	drift    map[object][]operation.Change
	drifted  map[string]string // values that drift brought → address; made when first needed
	capped   bool              // something that is needed to compare was left out
	same     bool              // and yet the whole is known to be what was reviewed

	onlyValues map[object]bool   // changes that were reviewed but for volatile values
	held       map[object]string // of what needs an approval, ApprovalDigest

	all, tolerated, asked kept
	sum                   *sum // of all that are asked about
	uncertain             bool
}

// explain looks at the changes of one object.
func (e *explainer) explain(changes []operation.Change, risks []operation.Risk) error {
	rules := make([]operation.RiskRule, 0, len(risks))
	for _, risk := range risks {
		rules = append(rules, risk.Rule)
	}
	var known []operation.Change // where they need an approval
	for _, change := range changes {
		explained, ok, err := e.change(change)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(rules, func(rule operation.RiskRule) bool { return slices.Contains(e.facts.Block, rule) }) {
			known = append(known, explained)
		}
		e.all.add(explained)
		switch {
		case ok:
			continue
		case e.tolerates(explained, rules):
			e.tolerated.add(explained)
		default:
			e.asked.add(explained)
			e.sum.add(explained)
		}
		e.uncertain = e.uncertain || uncertain(explained)
	}
	if len(known) > 0 {
		e.held[objectOf(known[0])] = ApprovalDigest(known)
	}
	return nil
}

// blocked lists the addresses that nobody approved although a rule stops them, and what has to be approved of them. An
// approval of another rule, or of another change, is none. Of a plan that was cut the changes have no causes.
func (e *explainer) blocked(risks []operation.Risk, cut bool) (addresses []string, held []operation.Held) {
	back := heldBack(risks, e.facts.Block, func(of object) string {
		if known, ok := e.held[of]; ok {
			return known
		}
		return ApprovalDigest(nil) // nothing is done to it, and yet it is not protected any more
	})
	if cut {
		back = Held(risks, e.facts.Block, e.actual.Set.Changes)
	}
	for _, one := range back {
		if !slices.Contains(e.facts.Approved, one) {
			held, addresses = append(held, one), append(addresses, one.Address)
		}
	}
	return slices.Compact(addresses), held
}

// change gives a change with its cause; true when it is covered.
func (e *explainer) change(change operation.Change) (operation.Change, bool, error) {
	candidates := e.reviewed[objectOf(change)]
	ok, by := covered(change, candidates, e.actual.stands[objectOf(change)])
	if !ok && e.same { // it was left out of what is known of the review, which had exactly these changes
		by = e.facts.Expected.Changes
	}
	if ok || e.same {
		change.Cause = &operation.Cause{Kind: operation.CauseReviewed, Pulls: pulls(by)}
		return change, true, nil
	}
	if e.again != nil {
		others, err := e.again.find(objectOf(change))
		if err != nil {
			return operation.Change{}, false, err
		}
		change = markVolatile(change, others)
	}
	cause := e.cause(change, candidates)
	change.Cause = &cause
	return change, false, nil
}

// pulls are the pull requests on which changes were reviewed, each once, in order.
func pulls(by []operation.Change) []int {
	var list []int
	for _, change := range by {
		if change.Cause != nil {
			list = append(list, change.Cause.Pulls...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// tolerates reports whether a change that nobody reviewed needs no yes. Where what it does was reviewed, and only a
// volatile value is another, the danger of doing it was reviewed too; that of the value was not.
func (e *explainer) tolerates(change operation.Change, rules []operation.RiskRule) bool {
	if e.onlyValues[objectOf(change)] {
		rules = slices.DeleteFunc(slices.Clone(rules), func(rule operation.RiskRule) bool {
			return !ofValues(rule)
		})
	}
	switch {
	case len(rules) > 0:
		return false
	case change.Cause.Kind == operation.CauseVolatile:
		return true
	default:
		return e.facts.Binding == operation.BindNoNewRisk && !e.capped
	}
}

// ofValues reports whether a risk is in what values become, not in what is done to the object.
func ofValues(rule operation.RiskRule) bool {
	return rule == operation.RiskPublic || rule == operation.RiskAccess || rule == operation.RiskUnprotected
}

// cause is the first cause that holds for a change that is not covered.
func (e *explainer) cause(change operation.Change, candidates []operation.Change) operation.Cause {
	open := uncovered(change, candidates)
	for _, look := range []func(operation.Change, []operation.Attribute) (operation.Cause, bool){
		func(change operation.Change, _ []operation.Attribute) (operation.Cause, bool) {
			return e.volatile(change, candidates)
		},
		e.fromDrift, e.fromData, e.fromIdentity, e.fromProvider, e.fromState,
	} {
		if cause, found := look(change, open); found {
			return cause
		}
	}
	return operation.Cause{Kind: operation.CauseUnexplained}
}

// uncovered are the attributes that no reviewed change of the same kind has.
func uncovered(change operation.Change, candidates []operation.Change) []operation.Attribute {
	var parts []operation.Attribute
	for _, candidate := range candidates {
		if sameDeed(candidate, change) {
			parts = append(parts, candidate.Attributes...)
		}
	}
	var open []operation.Attribute
	for _, attribute := range change.Attributes {
		if !allCovered([]operation.Attribute{attribute}, parts) {
			open = append(open, attribute)
		}
	}
	return open
}

// markVolatile marks the attributes to which the second plan gives another value, beside those that Read has marked.
func markVolatile(change operation.Change, second []operation.Change) operation.Change {
	for _, other := range second {
		if !sameDeed(other, change) {
			continue
		}
		marked := slices.Clone(change.Attributes)
		for i, attribute := range marked {
			at := slices.IndexFunc(other.Attributes, func(o operation.Attribute) bool { return o.Path == attribute.Path })
			if at < 0 || attribute.Sensitive || attribute.Unknown {
				continue
			}
			o := other.Attributes[at]
			if !o.Sensitive && !o.Unknown && len(attribute.After) > 0 && len(o.After) > 0 && canonical(o.After) != canonical(attribute.After) {
				marked[i].Volatile = true
			}
		}
		change.Attributes = marked
		return change
	}
	return change
}

// volatile reports whether nothing but volatile values keeps a change from being covered, or whether it is an update that
// is there only because of them: what else it changes is what its provider makes of these.
func (e *explainer) volatile(change operation.Change, candidates []operation.Change) (operation.Cause, bool) {
	paths := map[string]bool{}
	for _, attribute := range change.Attributes {
		if attribute.Volatile {
			paths[attribute.Path] = true
		}
	}
	if len(paths) == 0 {
		return operation.Cause{}, false
	}
	rest := change
	rest.Attributes = omit(change.Attributes, paths)
	steady := make([]operation.Change, len(candidates))
	for i, candidate := range candidates {
		steady[i] = candidate
		steady[i].Attributes = omit(candidate.Attributes, paths)
	}
	ok, _ := covered(rest, steady, e.actual.stands[objectOf(change)])
	e.onlyValues[objectOf(change)] = ok
	if !ok && change.Action == operation.Update {
		rest.Attributes = slices.DeleteFunc(slices.Clone(rest.Attributes), func(a operation.Attribute) bool {
			return a.Unknown && e.actual.references.computed(change.Address, a.Path)
		})
		ok = len(rest.Attributes) == 0
		if !ok {
			ok, _ = covered(rest, steady, e.actual.stands[objectOf(change)])
		}
	}
	if !ok && len(change.ReplacePaths) > 0 {
		ok = !slices.ContainsFunc(change.ReplacePaths, func(path string) bool { return !paths[path] })
	}
	return operation.Cause{Kind: operation.CauseVolatile, Detail: few(slices.Sorted(maps.Keys(paths)))}, ok
}

func omit(attributes []operation.Attribute, paths map[string]bool) []operation.Attribute {
	return slices.DeleteFunc(slices.Clone(attributes), func(a operation.Attribute) bool { return paths[a.Path] })
}

// fromDrift reports whether the object, or what is not reviewed of its change, was changed outside of Terraform, or takes
// over a value that was.
func (e *explainer) fromDrift(change operation.Change, open []operation.Attribute) (operation.Cause, bool) {
	for _, drift := range e.drift[objectOf(change)] {
		if drift.Action == operation.Delete {
			if change.Action == operation.Create {
				return operation.Cause{Kind: operation.CauseDrift, Detail: "it was deleted outside of Terraform"}, true
			}
			continue
		}
		var paths []string
		for _, theirs := range drift.Attributes {
			touches := func(path string) bool { return atOrBelow(path, theirs.Path) || atOrBelow(theirs.Path, path) }
			if slices.ContainsFunc(open, func(a operation.Attribute) bool { return touches(a.Path) }) ||
				slices.ContainsFunc(change.ReplacePaths, touches) {
				paths = append(paths, theirs.Path)
			}
		}
		if len(paths) > 0 {
			return operation.Cause{Kind: operation.CauseDrift, Detail: "changed outside of Terraform: " + few(paths)}, true
		}
	}
	for _, attribute := range open {
		if address, ok := e.driftedValues()[string(attribute.After)]; ok && !attribute.Sensitive {
			return operation.Cause{
				Kind: operation.CauseDrift, Detail: attribute.Path + " follows " + address + ", which was changed outside of Terraform",
			}, true
		}
	}
	return operation.Cause{}, false
}

// driftedValues are the values that drift brought, and where. Short ones occur everywhere.
func (e *explainer) driftedValues() map[string]string {
	if e.drifted != nil {
		return e.drifted
	}
	e.drifted = map[string]string{}
	for _, drift := range e.actual.Drift {
		for _, attribute := range drift.Attributes {
			if len(attribute.After) >= minSecret {
				e.drifted[string(attribute.After)] = drift.Address
			}
		}
	}
	return e.drifted
}

// fromData reports whether a data source that the change depends on has another result than at the review.
func (e *explainer) fromData(change operation.Change, open []operation.Attribute) (operation.Cause, bool) {
	return e.fromSource(change, open, operation.CauseData, func(kind string) bool { return !identities[kind] })
}

// fromIdentity is fromData for data sources that tell who plans.
func (e *explainer) fromIdentity(change operation.Change, open []operation.Attribute) (operation.Cause, bool) {
	return e.fromSource(change, open, operation.CauseIdentity, func(kind string) bool { return identities[kind] })
}

func (e *explainer) fromSource(change operation.Change, open []operation.Attribute, kind operation.CauseKind,
	counts func(kind string) bool,
) (operation.Cause, bool) {
	differing := e.differing(counts)
	if len(differing) == 0 {
		return operation.Cause{}, false
	}
	referred := e.actual.references.sourcesOf(change.Address)
	var found []string
	for _, address := range differing {
		if referred[unkeyed(address)] || occurs(e.actual.results[address], open) {
			found = append(found, address)
		}
	}
	return operation.Cause{Kind: kind, Detail: few(found)}, len(found) > 0
}

// differing lists the data sources whose result is another than at the review, as far as both are known; also those that
// only one of them could read before the apply.
func (e *explainer) differing(counts func(kind string) bool) []string {
	var list []string
	if len(e.facts.Data) == 0 {
		return nil
	}
	for address := range e.facts.Data {
		if e.actual.Data[address] != e.facts.Data[address] {
			list = append(list, address)
		}
	}
	list = slices.DeleteFunc(list, func(address string) bool {
		kind, data := typeOf(address)
		return !data || !counts(kind)
	})
	slices.Sort(list)
	return list
}

// occurs reports whether a new value is, or has in it, one of the texts of a result.
func occurs(texts []string, open []operation.Attribute) bool {
	for _, attribute := range open {
		if len(attribute.After) == 0 || attribute.Sensitive {
			continue
		}
		value := string(attribute.After)
		var plain string
		if json.Unmarshal(attribute.After, &plain) == nil {
			value = plain
		}
		for _, text := range texts {
			if value == text || len(text) >= minSecret && strings.Contains(value, text) {
				return true
			}
		}
	}
	return false
}

// fromProvider reports whether the provider of the object has another version than at the review. The provider
// that is part of Terraform has Terraform's.
func (e *explainer) fromProvider(change operation.Change, _ []operation.Attribute) (operation.Cause, bool) {
	name := e.actual.Providers[change.Address]
	if strings.HasPrefix(name, builtin) {
		name = ""
	}
	then, now := versions(e.facts.Reviewed, name), versions(e.facts.Present, name)
	if change.Action == operation.Output || len(then) == 0 || len(now) == 0 || slices.Equal(then, now) {
		return operation.Cause{}, false
	}
	if name == "" {
		name = "Terraform"
	}
	return operation.Cause{
		Kind:   operation.CauseProvider,
		Detail: fmt.Sprintf("%s %s, reviewed with %s", name, strings.Join(now, " and "), strings.Join(then, " and ")),
	}, true
}

// fromState reports whether somebody has written to the state since the last apply: a change that nothing else explains
// takes that back.
func (e *explainer) fromState(change operation.Change, _ []operation.Attribute) (operation.Cause, bool) {
	return operation.Cause{Kind: operation.CauseDrift, Detail: e.facts.Moved}, e.facts.Moved != "" && change.Action != operation.Output
}

// builtin is how the source address of a provider begins that is part of Terraform or OpenTofu.
const builtin = "terraform.io/builtin/"

// versions of one provider, sorted; of Terraform itself where name is empty.
func versions(tools []operation.Tool, name string) []string {
	var list []string
	for _, tool := range tools {
		if tool.Name == name || name == "" && (tool.Name == "terraform" || tool.Name == "tofu") {
			list = append(list, tool.Version)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// few lists the first names and counts the others.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// identities are data sources that tell who plans, so that a plan by another identity is another plan.
// https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs/data-sources/client_config
var identities = map[string]bool{
	"azurerm_client_config": true, "azurerm_subscription": true, "azuread_client_config": true, "azapi_client_config": true,
	"aws_caller_identity": true, "aws_iam_session_context": true,
	"google_client_config": true, "google_client_openid_userinfo": true,
}
