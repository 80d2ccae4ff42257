// Package terraform runs Terraform (or OpenTofu) for the runner: init, plan, show, apply and version, each
// as one process in a process group of its own, with a given environment and bounded output. It also finds
// the binary, and reads from configuration what a root uses: modules, variables, what init depends on.
// It never decides whether something may be applied, never runs a shell and never inherits an environment.
//
// terraform-exec asks the version and does nothing else: docs/adr/0005 says why.
package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// DefaultStopGrace is how long Terraform has to stop after SIGINT before its group is killed.
// https://developer.hashicorp.com/terraform/cli/run#cancelling-a-run
const DefaultStopGrace = 30 * time.Second

// Tool is one Terraform binary with the environment and the manners it is run with.
type Tool struct {
	Path      string        // absolute path of the binary
	Env       []string      // its whole environment, see Environ
	InitEnv   []string      // further variables that init alone has: no code of the configuration runs in it
	StopGrace time.Duration // between SIGINT and SIGKILL; 0 is DefaultStopGrace

	// Confine is what Terraform, and all that it starts, may use of this machine; nil: as much as we may.
	Confine *confine.Policy
}

// Root is one root module in a work directory. One goroutine uses it at a time.
type Root struct {
	tool      Tool
	dir       string
	dataDir   string
	processes int
}

// Root returns the root in dir, an absolute path. dataDir takes the place of `.terraform`, so that nothing that
// is committed under that name is used; give it relative to dir, because paths of downloaded modules contain it.
// https://developer.hashicorp.com/terraform/cli/config/environment-variables#tf_data_dir
func (t Tool) Root(dir, dataDir string) *Root {
	return &Root{tool: t, dir: dir, dataDir: dataDir}
}

// Processes says how many Terraform processes were started for this root.
func (r *Root) Processes() int { return r.processes }

// Init prepares the root: backend, modules, providers. pluginCache may be empty; who gives one holds a lock
// on it, because two inits must not write to it at the same time.
// https://developer.hashicorp.com/terraform/cli/config/config-file#provider-plugin-cache
func (r *Root) Init(ctx context.Context, backend map[string]string, pluginCache string) error {
	args := []string{"init", "-input=false", "-no-color", "-reconfigure"}
	for _, key := range sortedKeys(backend) {
		args = append(args, "-backend-config="+key+"="+backend[key])
	}
	c := command{args: args, env: slices.Clone(r.tool.InitEnv)}
	if pluginCache != "" {
		c.env, c.write = append(c.env, "TF_PLUGIN_CACHE_DIR="+pluginCache), []string{pluginCache}
	}
	return r.run(ctx, c)
}

// InitBackend has the backend noted in the data directory, and fetches neither modules nor providers: none is an empty directory that
// is taken for all the providers there are. That any are missing is an error, after the backend was noted.
// https://developer.hashicorp.com/terraform/cli/commands/init
func (r *Root) InitBackend(ctx context.Context, backend map[string]string, none string) error {
	args := []string{"init", "-input=false", "-no-color", "-reconfigure", "-get=false", "-plugin-dir=" + none}
	for _, key := range sortedKeys(backend) {
		args = append(args, "-backend-config="+key+"="+backend[key])
	}
	return r.run(ctx, command{args: args})
}

// PlanOptions is what a plan is made of.
type PlanOptions struct {
	Out         string            // path of the plan file
	VarFiles    []string          // relative to the root, in order
	Vars        map[string]string // stronger than VarFiles
	Lock        bool              // take the state lock; a plan that shows what would happen does not
	LockTimeout time.Duration

	// RefreshOnly compares the state with the world and plans nothing else.
	// https://developer.hashicorp.com/terraform/cli/commands/plan#planning-modes
	RefreshOnly bool
}

// Plan writes a plan file.
func (r *Root) Plan(ctx context.Context, o PlanOptions) error {
	args := []string{"plan", "-input=false", "-no-color", "-out=" + o.Out}
	if o.Lock {
		args = append(args, "-lock-timeout="+o.LockTimeout.String())
	} else {
		args = append(args, "-lock=false")
	}
	if o.RefreshOnly {
		args = append(args, "-refresh-only")
	}
	for _, file := range o.VarFiles {
		args = append(args, "-var-file="+file)
	}
	for _, name := range sortedKeys(o.Vars) {
		args = append(args, "-var="+name+"="+o.Vars[name])
	}
	return r.run(ctx, command{args: args})
}

// MaxShow bounds the JSON of one plan, in bytes.
const MaxShow = 1 << 30

// Show streams the JSON of a plan file into read. An error of read ends Terraform and is returned.
// The JSON has sensitive values in clear.
// https://developer.hashicorp.com/terraform/internals/json-format
func (r *Root) Show(ctx context.Context, planFile string, read func(io.Reader) error) error {
	return r.stream(ctx, "plan", read, "show", "-json", "-no-color", planFile)
}

// StateHead reads lineage and serial of the present state, whatever its backend. What else the state has is
// passed over. Without a state the head is empty.
// https://developer.hashicorp.com/terraform/cli/commands/state/pull
func (r *Root) StateHead(ctx context.Context) (head StateHead, err error) {
	err = r.stream(ctx, "state", func(state io.Reader) (err error) {
		head, err = decodeStateHead(io.LimitReader(state, maxStateHead))
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}, "state", "pull")
	return head, err
}

// readAll calls read with all of r, at most MaxShow bytes of it, and makes a fault in read an error.
func readAll(r io.Reader, read func(io.Reader) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("fault: %v", fault)
		}
	}()
	limited := &io.LimitedReader{R: r, N: MaxShow}
	if err := read(limited); err != nil {
		if limited.N <= 0 {
			return fmt.Errorf("its JSON is larger than %d bytes", int64(MaxShow))
		}
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read the rest: %w", err)
	}
	return nil
}

// Apply applies a plan file. Its output goes to the file at outputPath, not through a pipe: were this program to die,
// Terraform would die of a broken pipe in the middle of its work.
func (r *Root) Apply(ctx context.Context, planFile string, lockTimeout time.Duration, outputPath string) error {
	output, err := os.OpenFile(outputPath, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600) //nolint:gosec // a path in our work directory
	if err != nil {
		return fmt.Errorf("make file for the output: %w", err)
	}
	args := []string{"apply", "-input=false", "-no-color", "-lock-timeout=" + lockTimeout.String(), planFile}
	err = r.run(ctx, command{args: args, file: output})
	if closeErr := output.Close(); closeErr != nil && err == nil {
		return fmt.Errorf("close file with the output: %w", closeErr)
	}
	return err
}

// stream runs Terraform and has what it writes read while it runs.
func (r *Root) stream(ctx context.Context, what string, read func(io.Reader) error, args ...string) error {
	out, in := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		err := readAll(out, read)
		if err != nil {
			_ = out.CloseWithError(err)
		}
		failed <- err
	}()
	err := r.run(ctx, command{args: args, stdout: in})
	_ = in.Close() // of a pipe in memory: it never fails
	readErr := <-failed
	var exit *Error
	if errors.As(err, &exit) && (exit.Stopped != nil || readErr == nil || exit.Output != "" && exit.Code >= 0) {
		// What a signal ended may have died of our closing the pipe.
		return err
	}
	switch {
	case readErr != nil && exit != nil:
		return fmt.Errorf("read the %s: %w; %w", what, readErr, err)
	case readErr != nil:
		return fmt.Errorf("read the %s: %w", what, readErr)
	default:
		return err
	}
}

// run starts one process for the root.
func (r *Root) run(ctx context.Context, c command) error {
	c.dir = r.dir
	c.env = append(c.env, "TF_DATA_DIR="+r.dataDir)
	r.processes++
	return r.tool.run(ctx, c)
}

// sortedKeys gives the keys of a map in a fixed order.
func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}
