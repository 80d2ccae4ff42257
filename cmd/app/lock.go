package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/statelock"
)

// lockedStatus is the exit status of `lock show` when somebody holds the lock.
const lockedStatus = 3

type lockCommand struct {
	Show  lockShowCommand  `cmd:"" help:"Print who holds the lock of a state, and what is known of the state; exit status 3: it is held."`
	Break lockBreakCommand `cmd:"" help:"Break exactly the lock that is named, after showing it."`
}

// lockedRoot says whose lock is meant: of the root in a directory where `terraform init` was done.
type lockedRoot struct {
	Chdir string `default:"." placeholder:"DIR" help:"Directory of the root, where 'terraform init' was done for the environment."`
}

// Bounds of what the command line does with a lock.
const (
	lockShowTime  = 2 * time.Minute
	lockBreakTime = 10 * time.Minute
	maxBackend    = 4 << 20 // bytes of Terraform's note about the backend
	maxReason     = 500     // characters
)

type lockShowCommand struct {
	lockedRoot `embed:""`

	JSON bool `name:"json" help:"Print what was found as one JSON object."`
}

// Run looks, and changes nothing.
func (c lockShowCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lockShowTime)
	defer cancel()
	lock, err := c.open(ctx)
	if err != nil {
		return err
	}
	found, err := c.look(ctx, lock)
	if err != nil {
		return err
	}
	text := lockText(found, c.Chdir)
	if c.JSON {
		data, err := json.Marshal(found)
		if err != nil {
			return fmt.Errorf("print the lock: %w", err)
		}
		text = harmless(string(data)) + "\n"
	}
	if _, err := os.Stdout.WriteString(text); err != nil {
		return fmt.Errorf("print the lock: %w", err)
	}
	if found.Lease == operation.LeaseHeld {
		return &exitError{lockedStatus}
	}
	return nil
}

// look finds out what there is to know of the lock, and whether an apply in this directory has left a state that it could not save.
func (c lockedRoot) look(ctx context.Context, lock statelock.Lock) (operation.StateLock, error) {
	found, err := lock.Inspect(ctx)
	if err != nil {
		return found, lookFailed(err)
	}
	const file = "errored.tfstate" // https://developer.hashicorp.com/terraform/cli/state/recover
	next := "terraform state push " + file
	if flag := chdirFlag(c.Chdir); flag != "" {
		next = "terraform -chdir=" + strings.TrimPrefix(flag, " --chdir ") + " state push " + file
	}
	if errored, ok := statelock.Unsaved(filepath.Join(c.Chdir, file), found, next); ok {
		found.Errored = append(found.Errored, errored)
	}
	return found, nil
}

func lookFailed(err error) error {
	return fmt.Errorf("the lock could not be looked at: %w", err)
}

// open finds the backend of the root and how it is reached.
func (c lockedRoot) open(ctx context.Context) (statelock.Lock, error) {
	env := lockEnvironment(os.Environ())
	// https://developer.hashicorp.com/terraform/cli/config/environment-variables#tf_data_dir
	data := cmp.Or(os.Getenv("TF_DATA_DIR"), ".terraform")
	if !filepath.IsAbs(data) {
		data = filepath.Join(c.Chdir, data)
	}
	kind, config, err := readBackend(filepath.Join(data, "terraform.tfstate"))
	if err != nil {
		return nil, err
	}
	if env["TF_WORKSPACE"] == "" {
		if env["TF_WORKSPACE"], err = readWorkspace(filepath.Join(data, "environment")); err != nil {
			return nil, err
		}
	}
	if kind == statelock.Local {
		for name, otherwise := range map[string]string{"path": "terraform.tfstate", "workspace_dir": "terraform.tfstate.d"} {
			at, _ := config[name].(string)
			if at = cmp.Or(at, otherwise); !filepath.IsAbs(at) {
				at = filepath.Join(c.Chdir, at)
			}
			config[name] = at
		}
	}
	lock, err := statelock.Open(ctx, kind, config, env)
	if err != nil {
		return nil, lookFailed(err)
	}
	return lock, nil
}

// readBackend reads what `terraform init` noted.
func readBackend(name string) (kind string, config map[string]any, err error) {
	const next = "; next, in that directory: `terraform init`, with the -backend-config of the environment"
	text, err := readBounded(name, maxBackend)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("there is no %q, so the backend is not known%s (a root without a backend block has no lock that outlives its "+
			"process)", name, next)
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the backend: %w%s", err, next)
	}
	var noted struct {
		Backend struct {
			Type   string         `json:"type"`
			Config map[string]any `json:"config"`
		} `json:"backend"`
	}
	if json.Unmarshal(text, &noted) != nil || noted.Backend.Type == "" { // an error would have a part of the text, which may be a key
		return "", nil, fmt.Errorf("%q names no backend%s", name, next)
	}
	if noted.Backend.Config == nil {
		noted.Backend.Config = map[string]any{}
	}
	return noted.Backend.Type, noted.Backend.Config, nil
}

// readWorkspace reads which workspace was selected; empty is the default one.
func readWorkspace(name string) (string, error) {
	const most = 256
	text, err := readBounded(name, most)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the workspace: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// readBounded reads a file that has to be small.
func readBounded(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name) //nolint:gosec // the person names the directory
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // the caller decides by it
	case !info.Mode().IsRegular() || info.Size() > most:
		return nil, fmt.Errorf("%q is no file of Terraform's", name)
	}
	return os.ReadFile(filepath.Clean(name)) //nolint:wrapcheck,gosec // as above; the person names the directory
}

// lockEnvironment picks what the backends and their credentials are configured by.
func lockEnvironment(environ []string) map[string]string {
	names := []string{
		"PATH", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "TF_WORKSPACE",
		"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	}
	prefixes := []string{"ARM_", "AZURE_", "TF_HTTP_"}
	picked := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if slices.Contains(names, name) || slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			picked[name] = value
		}
	}
	if home, err := os.UserHomeDir(); err == nil && picked["AZURE_CONFIG_DIR"] == "" {
		picked["AZURE_CONFIG_DIR"] = filepath.Join(home, ".azure") // where `az` looks, which is given no home of its own
	}
	return picked
}

type lockBreakCommand struct {
	lockedRoot `embed:""`

	LockID string `name:"lock-id" placeholder:"ID" help:"The lock that is meant, as 'switchyard lock show' prints it; others stay."`
	Empty  bool   `help:"A lock that has no description, and so no id; with --etag."`
	Etag   string `placeholder:"ETAG" help:"What 'switchyard lock show' printed: a state or lock that has changed since is left alone."`
	Reason string `placeholder:"TEXT" help:"Why; it is in the text for the incident issue."`
	Yes    bool   `help:"Do not ask for the lock id to be typed."`
}

// Run shows the lock, asks, breaks it, and prints how far that came.
func (c lockBreakCommand) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockBreakTime)
	defer cancel()
	lock, err := c.open(ctx)
	if err != nil {
		return err
	}
	found, err := c.look(ctx, lock)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(lockFacts(found) + "\n"); err != nil {
		return fmt.Errorf("print the lock: %w", err)
	}
	if found.Lease != operation.LeaseHeld {
		_, err := os.Stdout.WriteString("Nothing was done: there is no lock to break.\nNext: " + lockNext(found, c.Chdir))
		return err //nolint:wrapcheck // of the terminal
	}
	if err := c.matches(found); err != nil {
		return err
	}
	if err := c.ask(ctx, isTerminal(os.Stdin), os.Stdin, os.Stdout); err != nil {
		return err
	}
	finishing, end := context.WithTimeout(context.WithoutCancel(ctx), lockBreakTime) // half of it helps nobody; each step has a deadline
	defer end()
	broken, breakErr := lock.Break(finishing, operation.LockTask{ID: c.LockID, ETag: found.ETag, Reason: c.Reason})
	report := brokenText(found, broken, incident{Reason: c.Reason, By: whoami(), At: time.Now()})
	if breakErr != nil {
		report = brokenSteps(broken)
	}
	if _, err := os.Stdout.WriteString(report); err != nil {
		return fmt.Errorf("print what was done: %w", err)
	}
	return c.failed(breakErr)
}

// failed says what a person does next.
func (c lockBreakCommand) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, statelock.ErrOther):
		return fmt.Errorf("%w: nothing was done to it; next: `switchyard lock show%s`", err, chdirFlag(c.Chdir))
	default:
		return fmt.Errorf("the lock could not be broken: %w; next, when that is put right: the same command once more, which goes on where "+
			"this one ended", err)
	}
}

// check refuses what does not say exactly one lock.
func (c lockBreakCommand) check() error {
	show := "`switchyard lock show" + chdirFlag(c.Chdir) + "`"
	switch {
	case c.LockID == "" && !c.Empty:
		return fmt.Errorf("--lock-id is missing: a lock is broken by its id, so that no other is; next: %s prints it", show)
	case c.LockID != "" && c.Empty:
		return errors.New("--lock-id and --empty contradict each other: a lock that has an id is broken by it; next: leave --empty out")
	case c.Empty && c.Etag == "":
		return fmt.Errorf("--etag is missing: a lock without a description is told from others by it; next: %s prints it", show)
	case strings.TrimSpace(c.Reason) == "":
		return errors.New("--reason is missing: whoever reads the incident wants to know why; next: add --reason 'the runner was lost'")
	case utf8.RuneCountInString(c.Reason) > maxReason:
		return fmt.Errorf("--reason has more than %d characters; next: say it in one sentence", maxReason)
	}
	return nil
}

// matches refuses every lock but the one that is meant.
func (c lockBreakCommand) matches(found operation.StateLock) error {
	id := ""
	if found.Info != nil {
		id = found.Info.ID
	}
	next := "`switchyard lock show" + chdirFlag(c.Chdir) + "`, and then the command that it prints"
	switch {
	case c.LockID != id && id == "" && found.Backend == "azurerm":
		return nil // a run that was cut off may have cleared the description: it goes on only where it has the lease, under an id of its own
	case c.LockID != id && id == "":
		return fmt.Errorf("nothing was done: the lock has no description, so it is not known to be %.100q; next: %s", c.LockID, next)
	case c.LockID != id:
		return fmt.Errorf("nothing was done: the lock is %.100q, and not the one that was named; next: %s", id, next)
	case c.Etag != "" && c.Etag != found.ETag:
		return fmt.Errorf("nothing was done: state or lock have changed since, the etag is %.100q; next: %s", found.ETag, next)
	}
	return nil
}

// isTerminal tells whether a person may be there to answer.
func isTerminal(from *os.File) bool {
	info, err := from.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ask has a person at a terminal type what is to be broken.
func (c lockBreakCommand) ask(ctx context.Context, terminal bool, from io.Reader, to io.Writer) error {
	if c.Yes {
		return nil
	}
	if !terminal {
		return errors.New("nothing was done: nobody was asked, as this is no terminal; next: the same command with --yes")
	}
	what, word := "lock id", c.LockID
	if c.Empty {
		what, word = "etag", c.Etag
	}
	if _, err := fmt.Fprintf(to, "Whoever holds it, and works still, loses what it does. Type the %s to break it: ", what); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	typed := make(chan string, 1)
	go func() {
		const most = 1024
		line, _ := bufio.NewReader(io.LimitReader(from, most)).ReadString('\n') // what came before an end is compared, too
		typed <- strings.TrimSpace(line)
	}()
	select {
	case line := <-typed:
		if line != word {
			return fmt.Errorf("nothing was done: what was typed is not the %s; next: the same command once more", what)
		}
		return nil
	case <-ctx.Done(): // an interrupt, which a read does not see
		return fmt.Errorf("nothing was done: %w", context.Cause(ctx))
	}
}

// whoami is who runs this, and where.
func whoami() string {
	name := "somebody"
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}
