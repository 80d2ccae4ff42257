package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// LockFile is where init notes which providers it chose.
// https://developer.hashicorp.com/terraform/language/files/dependency-lock
const LockFile = ".terraform.lock.hcl"

// InitInputs is what `terraform init` reads from a root and its local modules.
type InitInputs struct {
	// Fingerprint changes when anything changes that init reads: terraform blocks, sources and versions of modules,
	// the providers that blocks need, the lock file. It leaves out everything else, so that most commits keep it.
	Fingerprint string
	// Repeatable is false when a new init could give something else although nothing changed here: a module
	// from a moving reference, or configuration that could not be read.
	Repeatable bool
	// Downloads is false when init needs no provider and no module from elsewhere.
	Downloads bool
}

// ReadInitInputs looks at the root in dir and at all local modules below it.
func ReadInitInputs(ctx context.Context, read FileReader, dir string) (InitInputs, error) {
	sum := sha256.New()
	inputs := InitInputs{Repeatable: true}
	_, err := walk(ctx, read, dir, func(dir string, files map[string]source) {
		note(sum, "directory", dir)
		needs := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			inputs.add(sum, needs, name, files[name])
		}
		note(sum, slices.Sorted(maps.Keys(needs))...)
		for _, call := range modulesOf(files) {
			note(sum, "module", call.name, call.source, call.version)
			if !call.local() {
				inputs.Downloads = true
			}
			if !call.local() && !call.pinned() {
				inputs.Repeatable = false
			}
		}
	})
	if err != nil {
		return InitInputs{}, err
	}
	if err := addOtherFiles(sum, read, dir); err != nil {
		return InitInputs{}, err
	}
	inputs.Fingerprint = hex.EncodeToString(sum.Sum(nil))
	return inputs, nil
}

// add notes what init reads of one file, beside module calls. What needs a provider is noted once in needs,
// however many blocks need it.
func (i *InitInputs) add(sum hash.Hash, needs map[string]bool, name string, file source) {
	if file.body == nil {
		i.Repeatable, i.Downloads = false, true
		return
	}
	if file.json { // there is no telling parts of it apart by their text
		note(sum, "file", name, string(file.data))
		i.Downloads = true
		return
	}
	for _, block := range file.blocks("terraform") {
		note(sum, "terraform", file.text(block))
		i.Downloads = i.Downloads || strings.Contains(file.text(block), "required_providers")
	}
	for _, block := range file.blocks("provider") {
		needs["provider "+block.Labels[0]+" "+file.attribute(block.Body, "version")] = true
		i.Downloads = i.Downloads || block.Labels[0] != "terraform"
	}
	for _, blockType := range []string{"resource", "data", "ephemeral"} {
		for _, block := range file.blocks(blockType) {
			provider := file.attribute(block.Body, "provider")
			needs["needs "+strings.SplitN(block.Labels[0], "_", 2)[0]+" "+provider] = true //nolint:mnd // before the first "_"
			i.Downloads = i.Downloads || !strings.HasPrefix(block.Labels[0], "terraform_") || provider != ""
		}
	}
	for _, text := range file.others() {
		note(sum, "other", text)
		i.Downloads = true
	}
}

// testFile matches what init reads of tests: they may need providers too.
var testFile = regexp.MustCompile(`\.(tf|tofu)test\.(hcl|json)$|\.tfmock\.(hcl|json)$`)

// addOtherFiles notes the lock file and the tests of the root, whole.
func addOtherFiles(sum hash.Hash, read FileReader, dir string) error {
	for _, directory := range []string{path.Clean(dir), path.Join(dir, "tests")} {
		files, err := read(directory)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read directory %s: %w", directory, err)
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if name == LockFile || testFile.MatchString(name) {
				note(sum, "file", directory, name, string(files[name]))
			}
		}
	}
	return nil
}

// harmless are the block types of which init reads nothing that matters to it.
var harmless = []string{"variable", "output", "locals", "moved"}

// others gives the text of the blocks that are neither looked into nor harmless: checks and imports, for example,
// may need providers, and a future version of Terraform may have more.
func (s source) others() []string {
	body, ok := s.body.(*hclsyntax.Body)
	if !ok {
		return []string{string(s.data)}
	}
	var texts []string
	for _, block := range body.Blocks {
		if _, known := labels[block.Type]; known || slices.Contains(harmless, block.Type) {
			continue
		}
		texts = append(texts, string(block.Range().SliceBytes(s.data)))
	}
	return texts
}

// text is a whole block as it was written.
func (s source) text(block *hcl.Block) string {
	if body, ok := block.Body.(*hclsyntax.Body); ok {
		return string(body.Range().SliceBytes(s.data))
	}
	return string(s.data)
}

// attribute is an expression as it was written, empty when the attribute is absent.
func (s source) attribute(body hcl.Body, name string) string {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if content == nil || content.Attributes[name] == nil {
		return ""
	}
	return string(content.Attributes[name].Expr.Range().SliceBytes(s.data))
}

// pinnedRef is a git reference that cannot move.
var pinnedRef = regexp.MustCompile(`[?&]ref=[0-9a-f]{40}(&|$)`)

// exactVersion is a version constraint with one answer.
var exactVersion = regexp.MustCompile(`^\s*=?\s*[0-9]+\.[0-9]+\.[0-9]+\s*$`)

// pinned reports whether a module from elsewhere is always the same.
func (m module) pinned() bool {
	return m.literal && (exactVersion.MatchString(m.version) || pinnedRef.MatchString(m.source))
}

// note adds parts to a sum so that they cannot run into each other.
func note(sum hash.Hash, parts ...string) {
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d:%s;", len(part), part) // a hash never fails to write
	}
	_, _ = sum.Write([]byte{'\n'})
}

// LockedProviders reads from a lock file which providers were chosen: source address → version.
func LockedProviders(lockFile []byte) map[string]string {
	providers := map[string]string{}
	body, ok := parseNative(LockFile, lockFile).(*hclsyntax.Body)
	if !ok {
		return providers
	}
	for _, block := range body.Blocks {
		if block.Type != "provider" || len(block.Labels) != 1 {
			continue
		}
		if version, literal := literalOf(block.Body, "version"); literal {
			providers[block.Labels[0]] = version
		}
	}
	return providers
}
