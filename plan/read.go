package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxWarnings is how many warnings are kept of one plan; the others are counted.
const maxWarnings = 20

// checkoutPlaceholder stands for the directory of the checkout in values: plans of the same code in
// two directories are then the same, also where the code uses abspath() or path.cwd.
const checkoutPlaceholder = "{checkout}"

// Read reads the output of `terraform show -json PLANFILE`
// (https://developer.hashicorp.com/terraform/internals/json-format) as a stream, so that a plan of
// any size needs no more memory than its changes do. Beside the changes it returns notes for people:
// what changed outside of Terraform, checks that do not pass, and changes that Terraform put off.
//
// It fails on anything that it cannot account for (an unknown combination of actions, a plan that
// Terraform marked as errored, actions that a provider runs), because a change that is left out here
// would be applied without a name.
func Read(r io.Reader) (operation.ChangeSet, []string, error) { return ReadAt(r, "") }

// ReadAt is Read for a plan that was made in a checkout at the absolute path checkout: that path is
// replaced by a placeholder in all values, so that a plan and the plan of its apply can be compared
// although they ran in different directories.
func ReadAt(r io.Reader, checkout string) (operation.ChangeSet, []string, error) {
	if len(checkout) < 2 { // "" and "/" would match everywhere
		checkout = ""
	}
	read := reader{json: json.NewDecoder(r), checkout: checkout, secrets: secrets{}}
	read.json.UseNumber()
	if err := read.document(); err != nil {
		return operation.ChangeSet{}, nil, fmt.Errorf("read plan: %w", err)
	}
	read.secrets.hide(read.changes)
	sortChanges(read.changes)
	set := operation.ChangeSet{Changes: read.changes, Digest: Digest(read.changes), Counts: Count(read.changes)}
	return set, read.notes(), nil
}

// reader collects what matters of one plan.
type reader struct {
	json     *json.Decoder
	checkout string
	secrets  secrets // of the whole plan
	version  string
	changes  []operation.Change
	warnings []string
	omitted  int // warnings beyond maxWarnings
}

func (r *reader) document() error {
	if err := r.expect('{'); err != nil {
		return err
	}
	for r.json.More() {
		key, err := r.key()
		if err != nil {
			return err
		}
		if err := r.member(key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := r.expect('}'); err != nil {
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
		return r.decode(&r.version)
	case "errored":
		var errored bool
		if err := r.decode(&errored); err != nil {
			return err
		}
		if errored {
			return errors.New("terraform could not finish this plan")
		}
		return nil
	case "resource_changes":
		return each(r, r.resource)
	case "resource_drift":
		return each(r, r.drift)
	case "deferred_changes":
		return each(r, r.deferred)
	case "checks":
		return each(r, r.check)
	case "action_invocations":
		return each(r, func(action tfjson.ActionInvocation) error {
			return fmt.Errorf("%s runs an action of its provider: what it does cannot be reviewed in this version", action.Address)
		})
	case "output_changes":
		return r.outputs()
	default:
		return r.skip()
	}
}

func (r *reader) resource(resource tfjson.ResourceChange) error {
	if resource.Change == nil {
		return fmt.Errorf("%s has no change", resource.Address)
	}
	action, matters, err := actionOf(resource)
	if err != nil || !matters {
		return err
	}
	change := operation.Change{
		Address:         r.place(resource.Address),
		PreviousAddress: r.place(resource.PreviousAddress),
		Action:          action,
		ActionReason:    string(resource.ActionReason),
		Deposed:         resource.DeposedKey,
	}
	if resource.Change.Importing != nil {
		if change.ImportID, err = r.importID(*resource.Change.Importing); err != nil {
			return fmt.Errorf("%s: %w", resource.Address, err)
		}
	}
	for _, path := range resource.Change.ReplacePaths {
		change.ReplacePaths = append(change.ReplacePaths, replacePath(path))
	}
	slices.Sort(change.ReplacePaths)
	change.ReplacePaths = slices.Compact(change.ReplacePaths)
	known := secrets{}
	known.collect(resource.Change)
	r.secrets.merge(known)
	if change.Attributes, err = attributes(resource.Change, known, r.checkout); err != nil {
		return fmt.Errorf("%s: %w", resource.Address, err)
	}
	r.changes = append(r.changes, change)
	return nil
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
		return r.place(importing.ID), nil
	case importing.Unknown || importing.Identity == nil:
		return "(unknown)", nil
	}
	text, err := marshal(importing.Identity)
	if err != nil {
		return "", fmt.Errorf("write import identity: %w", err)
	}
	return r.place(string(text)), nil
}

func (r *reader) outputs() error {
	if null, err := r.open('{'); err != nil || null {
		return err
	}
	for r.json.More() {
		name, err := r.key()
		if err != nil {
			return err
		}
		var change tfjson.Change
		if err := r.decode(&change); err != nil {
			return err
		}
		if err := r.output(name, change); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return r.expect('}')
}

func (r *reader) output(name string, change tfjson.Change) error {
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
	r.changes = append(r.changes, operation.Change{
		Address: "output." + name, Action: operation.Output, ActionReason: reason, Attributes: values,
	})
	return nil
}

func (r *reader) drift(resource tfjson.ResourceChange) error {
	if resource.Change == nil || resource.Change.Actions.NoOp() {
		return nil // moved only
	}
	verb := "was changed"
	if resource.Change.Actions.Delete() {
		verb = "was deleted"
	}
	r.warn(fmt.Sprintf("`%s` %s outside of Terraform", resource.Address, verb))
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

// place replaces the path of the checkout.
func (r *reader) place(text string) string {
	if r.checkout == "" {
		return text
	}
	return strings.ReplaceAll(text, r.checkout, checkoutPlaceholder)
}

// each decodes the elements of an array one by one.
func each[T any](r *reader, use func(T) error) error {
	if null, err := r.open('['); err != nil || null {
		return err
	}
	for r.json.More() {
		var element T
		if err := r.decode(&element); err != nil {
			return err
		}
		if err := use(element); err != nil {
			return err
		}
	}
	return r.expect(']')
}

func (r *reader) decode(into any) error {
	if err := r.json.Decode(into); err != nil {
		return fmt.Errorf("decode at byte %d: %w", r.json.InputOffset(), unexpectedEnd(err))
	}
	return nil
}

func (r *reader) token() (json.Token, error) {
	token, err := r.json.Token()
	if err != nil {
		return nil, fmt.Errorf("read at byte %d: %w", r.json.InputOffset(), unexpectedEnd(err))
	}
	return token, nil
}

func (r *reader) expect(delim json.Delim) error {
	token, err := r.token()
	if err != nil {
		return err
	}
	if token != delim {
		return fmt.Errorf("expected %q at byte %d", delim, r.json.InputOffset())
	}
	return nil
}

// open reads the start of an array or object, or null, which stands for an empty one.
func (r *reader) open(delim json.Delim) (bool, error) {
	token, err := r.token()
	switch {
	case err != nil:
		return false, err
	case token == nil:
		return true, nil
	case token != delim:
		return false, fmt.Errorf("expected %q at byte %d", delim, r.json.InputOffset())
	}
	return false, nil
}

func (r *reader) key() (string, error) {
	token, err := r.token()
	if err != nil {
		return "", err
	}
	key, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("expected a key at byte %d", r.json.InputOffset())
	}
	return key, nil
}

// skip passes over one value without keeping it.
func (r *reader) skip() error {
	for depth := 0; ; {
		token, err := r.token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// unexpectedEnd names the end of input inside of a document as what it is.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
