package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds of what is kept of one plan for people.
const (
	maxWarnings = 20    // the others are counted
	maxDrift    = 10000 // changes outside of Terraform; no more are kept, and their notes are counted
)

// checkoutPlaceholder stands for the directory of the checkout in values: plans of the same code in
// two directories are then the same, also where the code uses abspath() or path.cwd.
const checkoutPlaceholder = "{checkout}"

// Plan is what was read of one plan.
type Plan struct {
	Set   operation.ChangeSet // with at most Options.Keep changes; its digest and counts are of all
	Notes []string            // for people: what changed outside of Terraform, failing checks, what Terraform puts off
	Drift []operation.Change  // what differs in the world from the state, sorted as Set is
	// Data has a hash of the result of each data source, by address, without what is sensitive in it. Those that are
	// read during the apply only have none.
	Data      map[string]string
	Providers map[string]string // of each address in Set, the provider's source address; it may be ""
	Made      string            // Terraform's own time of the plan, RFC 3339 in UTC; "" before Terraform 1.5

	results    map[string][]string        // texts and numbers in the results of data sources, by address
	references *moduleConfig              // nil where the plan has no configuration
	stands     map[object]map[string]text // for updates: values that do not change, of paths that were reviewed
	all        *packed                    // all changes, sorted; nil where Set has them all
	keep       int                        // Options.Keep
}

// object is one thing that changes are about.
type object struct{ address, deposed string }

// text is a value as canonical JSON, empty when there is none.
type text string

// Options is what a plan is read with.
type Options struct {
	// Checkout is the absolute path in which the plan was made. It is replaced by a placeholder in all values, so that
	// a plan and the plan of its apply can be compared although they ran in different directories.
	Checkout string
	// Beside is the directory in which other operations have checkouts, each as Checkout is in one of its directories
	// (Beside/NAME/tree, where Checkout is Beside/OTHER/tree). They are replaced too: an apply writes its own path to the state.
	Beside string
	// Reviewed are the changes that Explain will compare with: of an object that is updated, it can then tell
	// whether a reviewed value that the plan does not change is there already.
	Reviewed operation.ChangeSet
	// Keep is how many changes Set has at most, chosen as Cap does; 0 is all. Explain and Plan.Risks look at the others too:
	// they are held in a form that takes much less memory.
	Keep int
}

func (o Options) checkout() checkout {
	if len(o.Checkout) < 2 { // "" and "/" would match everywhere
		return checkout{}
	}
	if len(o.Beside) < 2 || !strings.HasPrefix(o.Checkout, o.Beside+"/") {
		return checkout{dir: o.Checkout}
	}
	return checkout{dir: o.Checkout, beside: o.Beside}
}

// Read reads the output of `terraform show -json PLANFILE`
// (https://developer.hashicorp.com/terraform/internals/json-format) as a stream, so that a plan of
// any size needs no more memory than its changes do. Formats of Terraform 1.5 and later and of OpenTofu are known.
//
// It fails on anything that it cannot account for (an unknown combination of actions, a plan that
// Terraform marked as errored, actions that a provider runs), because a change that is left out here
// would be applied without a name.
func Read(from io.Reader, options Options) (Plan, error) {
	r := reader{
		json: newStream(from), checkout: options.checkout(), secrets: newSecrets(), changes: newPacked(),
		reviewed: pathsOf(options.Reviewed),
		plan: Plan{
			keep: options.Keep,
			Data: map[string]string{}, Providers: map[string]string{},
			results: map[string][]string{}, stands: map[object]map[string]text{},
		},
	}
	if err := r.document(); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	r.sources.finish(&r)
	hidden := r.secrets.written()
	hidden.hide(r.plan.Drift)
	sortChanges(r.plan.Drift)
	if err := r.sum(hidden); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	r.plan.Notes = r.notes()
	return r.plan, nil
}

// pathsOf lists, of each object that was reviewed to be made or changed, the paths with a value that can be compared.
func pathsOf(reviewed operation.ChangeSet) map[object]map[string]bool {
	paths := map[object]map[string]bool{}
	for _, change := range reviewed.Changes {
		switch change.Action {
		case operation.Update, operation.Create, operation.Replace, operation.ReplaceCreateFirst:
		default:
			continue
		}
		key := object{change.Address, change.Deposed}
		if paths[key] == nil {
			paths[key] = map[string]bool{}
		}
		for _, attribute := range change.Attributes {
			if !attribute.Unknown && !attribute.Sensitive {
				paths[key][attribute.Path] = true
			}
		}
	}
	return paths
}

// reader collects what matters of one plan.
type reader struct {
	json     *stream
	checkout checkout
	secrets  secrets                    // of the whole plan
	reviewed map[object]map[string]bool // see pathsOf
	sources  sources
	plan     Plan
	version  string
	changes  *packed // as they come, with what may turn out to be sensitive
	warnings []string
	omitted  int       // warnings beyond maxWarnings
	raw      rawChange // of the resource that is read
}

// rawChange has the parts of one change before it is known whether they matter. The buffers are used again.
type rawChange struct {
	before, after, unknown, beforeSensitive, afterSensitive []byte
}

// sum sorts the changes, now that everything that is sensitive is known, and gives the plan its set of them.
func (r *reader) sum(hidden hidden) error {
	if err := r.changes.seal(); err != nil {
		return err
	}
	chosen, digest := kept{limit: r.plan.keep}, newSum(false)
	if r.plan.keep > 0 && len(r.changes.objects) > r.plan.keep {
		r.plan.all = newPacked()
	}
	err := r.changes.each(func(same []operation.Change) error {
		hidden.hide(same)
		r.markTime(same)
		sortChanges(same)
		for _, change := range same {
			digest.add(change)
			count(&r.plan.Set.Counts, change)
			chosen.add(change)
			if r.plan.all == nil {
				continue
			}
			if err := r.plan.all.add(change); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.plan.Set.Changes, r.plan.Set.Omitted, r.plan.Set.Digest = chosen.changes(), chosen.left, digest.text()
	if r.plan.all != nil {
		return r.plan.all.seal()
	}
	return nil
}

// markTime marks the values that have the time of this very plan in them, to the second: they are from plantimestamp(), or
// from a data source that tells the time, and will be others in the next plan.
func (r *reader) markTime(changes []operation.Change) {
	const seconds = "2006-01-02T15:04:05"
	if len(r.plan.Made) < len(seconds) {
		return
	}
	now := []byte(r.plan.Made[:len(seconds)])
	for _, change := range changes {
		for i, attribute := range change.Attributes {
			if bytes.Contains(attribute.After, now) {
				change.Attributes[i].Volatile = true
			}
		}
	}
}

func (r *reader) document() error {
	if c, err := r.json.peek(); err != nil {
		return err
	} else if c != '{' {
		return r.json.expect('{')
	}
	err := r.json.object(func(key string) error {
		if err := r.member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if major, _, _ := strings.Cut(r.version, "."); major != "1" && major != "0" {
		return fmt.Errorf("format_version %q is not one of 0.x and 1.x", r.version)
	}
	return nil
}

func (r *reader) member(key string) error {
	switch key {
	case "format_version":
		return r.json.decode(&r.version)
	case "timestamp":
		return r.json.decode(&r.plan.Made)
	case "errored":
		var errored bool
		if err := r.json.decode(&errored); err != nil {
			return err
		}
		if errored {
			return errors.New("terraform could not finish this plan")
		}
		return nil
	case "resource_changes":
		return r.json.array(r.resource)
	case "resource_drift":
		return r.json.array(r.drift)
	case "deferred_changes":
		return each(r, r.deferred)
	case "checks":
		return each(r, r.check)
	case "action_invocations":
		return each(r, func(action tfjson.ActionInvocation) error {
			return fmt.Errorf("%s runs an action of its provider: what it does cannot be reviewed in this version", action.Address)
		})
	case "output_changes":
		return r.json.object(r.output)
	case "prior_state":
		return r.priorState()
	case "configuration":
		return r.configuration()
	default: // planned_values, the largest, says nothing that resource_changes does not
		return r.json.skip()
	}
}

// entry reads one element of resource_changes or resource_drift, and notes the parts of its change in r.raw.
func (r *reader) entry() (tfjson.ResourceChange, error) {
	var resource tfjson.ResourceChange
	r.raw.reset()
	err := r.json.object(func(key string) error {
		switch key {
		case "address":
			return r.json.decode(&resource.Address)
		case "previous_address":
			return r.json.decode(&resource.PreviousAddress)
		case "deposed":
			return r.json.decode(&resource.DeposedKey)
		case "action_reason":
			return r.json.decode(&resource.ActionReason)
		case "provider_name":
			return r.json.decode(&resource.ProviderName)
		case "change":
			resource.Change = &tfjson.Change{}
			return r.json.object(func(key string) error { return r.part(key, resource.Change) })
		default:
			return r.json.skip()
		}
	})
	return resource, err
}

// part reads one member of a change.
func (r *reader) part(key string, change *tfjson.Change) error {
	switch key {
	case "actions":
		return r.json.decode(&change.Actions)
	case "replace_paths":
		return r.json.decode(&change.ReplacePaths)
	case "importing":
		return r.json.decode(&change.Importing)
	}
	into := r.raw.part(key)
	if into == nil {
		return r.json.skip()
	}
	raw, err := r.json.value()
	*into = append((*into)[:0], raw...)
	return err
}

func (c *rawChange) part(key string) *[]byte {
	switch key {
	case "before":
		return &c.before
	case "after":
		return &c.after
	case "after_unknown":
		return &c.unknown
	case "before_sensitive":
		return &c.beforeSensitive
	case "after_sensitive":
		return &c.afterSensitive
	default:
		return nil
	}
}

func (c *rawChange) reset() {
	for _, part := range []*[]byte{&c.before, &c.after, &c.unknown, &c.beforeSensitive, &c.afterSensitive} {
		*part = (*part)[:0]
	}
}

// values takes apart what entry has noted.
func (c *rawChange) values(change *tfjson.Change) error {
	for _, part := range []struct {
		raw  []byte
		into *any
	}{
		{c.before, &change.Before},
		{c.after, &change.After},
		{c.unknown, &change.AfterUnknown},
		{c.beforeSensitive, &change.BeforeSensitive},
		{c.afterSensitive, &change.AfterSensitive},
	} {
		if len(part.raw) == 0 {
			continue
		}
		if err := decode(part.raw, part.into); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
	}
	return nil
}

// marked reports whether a mask of it can have a mark.
func (c *rawChange) marked() bool {
	return bytes.Contains(c.beforeSensitive, []byte("true")) || bytes.Contains(c.afterSensitive, []byte("true"))
}

func (r *reader) resource() error {
	resource, err := r.entry()
	if err != nil {
		return err
	}
	if resource.Change == nil {
		return fmt.Errorf("%s has no change", resource.Address)
	}
	action, matters, err := actionOf(resource)
	if err != nil {
		return err
	}
	if !matters {
		return r.onlySecrets(resource)
	}
	change, err := r.change(resource, action)
	if err != nil {
		return fmt.Errorf("%s: %w", resource.Address, err)
	}
	r.plan.Providers[change.Address] = resource.ProviderName
	return r.changes.add(change)
}

// onlySecrets notes what is sensitive in an object that does not change: another one may have a copy of it.
func (r *reader) onlySecrets(resource tfjson.ResourceChange) error {
	if !r.raw.marked() {
		return nil
	}
	if err := r.raw.values(resource.Change); err != nil {
		return fmt.Errorf("%s: %w", resource.Address, err)
	}
	r.secrets.collect(resource.Change)
	return nil
}

// change makes a change of what entry has read.
func (r *reader) change(resource tfjson.ResourceChange, action operation.Action) (operation.Change, error) {
	change := operation.Change{
		Address:         r.checkout.placed(resource.Address),
		PreviousAddress: r.checkout.placed(resource.PreviousAddress),
		Action:          action,
		ActionReason:    string(resource.ActionReason),
		Deposed:         resource.DeposedKey,
	}
	if err := r.raw.values(resource.Change); err != nil {
		return operation.Change{}, err
	}
	if resource.Change.Importing != nil {
		id, err := r.importID(*resource.Change.Importing)
		if err != nil {
			return operation.Change{}, err
		}
		change.ImportID = id
	}
	for _, path := range resource.Change.ReplacePaths {
		change.ReplacePaths = append(change.ReplacePaths, replacePath(path))
	}
	slices.Sort(change.ReplacePaths)
	change.ReplacePaths = slices.Compact(change.ReplacePaths)
	known := newSecrets()
	known.collect(resource.Change)
	r.secrets.merge(known)
	key := object{change.Address, change.Deposed}
	f := flattener{checkout: r.checkout, secrets: known, asked: r.reviewed[key], stands: map[string]text{}}
	attributes, err := f.attributes(resource.Change)
	if err != nil {
		return operation.Change{}, err
	}
	if len(f.asked) > 0 && action == operation.Update {
		r.plan.stands[key] = f.stands
	}
	change.Attributes = attributes
	return change, nil
}

// actionOf says what is done to the object; false when nothing is.
func actionOf(resource tfjson.ResourceChange) (operation.Action, bool, error) {
	actions := resource.Change.Actions
	switch {
	case actions.NoOp() && resource.Change.Importing != nil:
		return operation.Import, true, nil
	case actions.NoOp():
		return operation.Move, resource.PreviousAddress != "", nil
	case actions.Create():
		return operation.Create, true, nil
	case actions.Read():
		return operation.Read, true, nil
	case actions.Update():
		return operation.Update, true, nil
	case actions.Delete():
		return operation.Delete, true, nil
	case actions.DestroyBeforeCreate():
		return operation.Replace, true, nil
	case actions.CreateBeforeDestroy():
		return operation.ReplaceCreateFirst, true, nil
	case actions.Forget():
		return operation.Forget, true, nil
	default:
		return "", false, fmt.Errorf("%s has the actions %q, which this version does not know", resource.Address, actions)
	}
}

// importID is the ID of an import, or its identity as JSON where it is imported by identity.
func (r *reader) importID(importing tfjson.Importing) (string, error) {
	switch {
	case importing.ID != "":
		return r.checkout.placed(importing.ID), nil
	case importing.Unknown || importing.Identity == nil:
		return "(unknown)", nil
	}
	text, err := marshal(importing.Identity)
	if err != nil {
		return "", fmt.Errorf("write import identity: %w", err)
	}
	return r.checkout.placed(string(text)), nil
}

func (r *reader) output(name string) error {
	var change tfjson.Change
	if err := r.json.decode(&change); err != nil {
		return err
	}
	if err := r.outputChange(name, change); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (r *reader) outputChange(name string, change tfjson.Change) error {
	actions := change.Actions
	if actions.NoOp() {
		return nil
	}
	if !actions.Create() && !actions.Update() && !actions.Delete() && !actions.Replace() {
		return fmt.Errorf("actions %q are not known for an output in this version", actions)
	}
	r.secrets.collect(&change)
	values, err := outputAttribute(&change, r.checkout)
	if err != nil {
		return err
	}
	reason := string(actions[0])
	if actions.Replace() {
		reason = string(tfjson.ActionUpdate)
	}
	return r.changes.add(operation.Change{
		Address: "output." + name, Action: operation.Output, ActionReason: reason, Attributes: values,
	})
}

func (r *reader) drift() error {
	resource, err := r.entry()
	if err != nil {
		return err
	}
	if resource.Change == nil || resource.Change.Actions.NoOp() {
		return nil // moved only
	}
	action, verb := operation.Update, "was changed"
	if resource.Change.Actions.Delete() {
		action, verb = operation.Delete, "was deleted"
	}
	r.warn(fmt.Sprintf("`%s` %s outside of Terraform", resource.Address, verb))
	if len(r.plan.Drift) >= maxDrift {
		return nil
	}
	change, err := r.change(resource, action)
	if err != nil {
		return fmt.Errorf("%s: %w", resource.Address, err)
	}
	change.ActionReason, change.PreviousAddress = "", ""
	r.plan.Drift = append(r.plan.Drift, change)
	return nil
}

func (r *reader) deferred(deferred tfjson.DeferredResourceChange) error {
	address := "a resource"
	if deferred.ResourceChange != nil {
		address = "`" + deferred.ResourceChange.Address + "`"
	}
	r.warn(fmt.Sprintf("%s is put off by Terraform to a later plan (%s)", address, deferred.Reason))
	return nil
}

func (r *reader) check(check tfjson.CheckResultStatic) error {
	if check.Status == tfjson.CheckStatusPass || check.Status == tfjson.CheckStatusUnknown {
		return nil
	}
	message := ""
	for _, instance := range check.Instances {
		for _, problem := range instance.Problems {
			message = ": " + problem.Message
		}
	}
	r.warn(fmt.Sprintf("the check `%s` does not pass%s", check.Address.ToDisplay, message))
	return nil
}

func (r *reader) warn(text string) {
	if len(r.warnings) == maxWarnings {
		r.omitted++
		return
	}
	r.warnings = append(r.warnings, text)
}

// notes are the warnings, without the sensitive values that the words of a check may quote.
func (r *reader) notes() []string {
	for i, warning := range r.warnings {
		if r.secrets.within(warning) {
			r.warnings[i] = "a note was left out: it quotes a sensitive value"
		}
	}
	if r.omitted == 0 {
		return r.warnings
	}
	return append(r.warnings, fmt.Sprintf("and %d more notes", r.omitted))
}

// each decodes the elements of an array one by one.
func each[T any](r *reader, use func(T) error) error {
	return r.json.array(func() error {
		var element T
		if err := r.json.decode(&element); err != nil {
			return err
		}
		return use(element)
	})
}
