package git

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/platform"
)

const (
	// maxOutput bounds what git may answer: some 500,000 paths.
	maxOutput = 64 << 20
	// maxErrorText bounds what of git's words is kept.
	maxErrorText = 2 << 10
	// stopDelay is what git has to remove its locks after it was asked to end.
	stopDelay = 5 * time.Second
)

// A CommandError says that git failed, in git's words.
type CommandError struct {
	Command string // git's subcommand
	Code    int    // exit status; -1 when it was killed or could not be started
	Text    string // the beginning of what git wrote, without secrets
	Err     error
}

// Error names the subcommand and what git said.
func (e *CommandError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("git %s: %v", e.Command, e.Err)
	}
	return fmt.Sprintf("git %s: %s (%v)", e.Command, e.Text, e.Err)
}

// Unwrap gives the cause, e.g. a context's end.
func (e *CommandError) Unwrap() error { return e.Err }

// errTooMuch is written to by nobody who is well.
var errTooMuch = errors.New("more output than is read")

// call is one git process.
type call struct {
	args   []string
	config []string // KEY=VALUE, for this process only
	stdin  io.Reader
	out    io.Writer             // nil: dropped
	remote *operation.Repository // set when the command may talk to GitHub about this repository
}

// output runs git and gives what it wrote.
func (m *Mirrors) output(ctx context.Context, mir *mirror, c call) (string, error) {
	out := &limited{max: maxOutput}
	c.out = out
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	err := m.git(ctx, mir, c)
	return out.String(), err
}

// git runs one git process to its end.
func (m *Mirrors) git(ctx context.Context, mir *mirror, c call) error {
	cmd, secrets, err := m.command(ctx, mir, c)
	if err != nil {
		return err
	}
	stderr := &limited{max: maxErrorText, cut: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.out, stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		_ = killGroup(cmd, syscall.SIGKILL) // what git has started and not ended itself
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	failure := &CommandError{Command: c.args[0], Code: -1, Text: redact(stderr.String(), secrets), Err: err}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		failure.Code = exit.ExitCode()
	}
	return failure
}

// command makes the process: its arguments, its whole environment, its own process group. secrets
// are what must not be repeated from its output.
func (m *Mirrors) command(ctx context.Context, mir *mirror, c call) (*exec.Cmd, []string, error) {
	program, err := m.program()
	if err != nil {
		return nil, nil, err
	}
	env := []string{
		"PATH=" + m.path, "HOME=/nonexistent", "LC_ALL=C", "GIT_DIR=" + mir.gitDir,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_LITERAL_PATHSPECS=1",
	}
	config := []string{"core.hooksPath=/dev/null", "gc.autoDetach=false", "credential.helper="}
	protocol := "none"
	var secrets []string
	if c.remote != nil {
		remote, err := m.remoteConfig(ctx, *c.remote)
		if err != nil {
			return nil, nil, err
		}
		config, secrets, protocol = append(config, remote.settings...), remote.secrets, remote.protocol
		for name, value := range platform.WithGitTrust(m.options.Env) {
			env = append(env, name+"="+value)
		}
	}
	config = append(config, c.config...) // the last value of a key counts
	env = append(env, "GIT_ALLOW_PROTOCOL="+protocol, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, setting := range config {
		key, value, _ := cutSetting(setting)
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	cmd := exec.CommandContext(ctx, program, c.args...) //nolint:gosec // argv, no shell; names follow --end-of-options
	cmd.Env, cmd.Dir = env, mir.gitDir
	cmd.SysProcAttr = platform.Group()
	cmd.Cancel = func() error { return killGroup(cmd, syscall.SIGTERM) }
	cmd.WaitDelay = stopDelay
	if m.options.Observe != nil {
		m.options.Observe(cmd.Args)
	}
	return cmd, secrets, nil
}

func (m *Mirrors) program() (string, error) {
	look := m.options.LookPath
	if look == nil {
		look = func() (string, error) { return exec.LookPath("git") }
	}
	program, err := look()
	if err != nil {
		return "", fmt.Errorf("find git: %w", err)
	}
	return program, nil
}

// remote is what a command needs to talk to GitHub.
type remote struct {
	settings []string // KEY=VALUE
	secrets  []string
	protocol string
}

// remoteConfig makes the configuration that only a process's environment holds.
// https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT
func (m *Mirrors) remoteConfig(ctx context.Context, repo operation.Repository) (remote, error) {
	address, err := url.Parse(m.remote(repo))
	if err != nil {
		return remote{}, errors.New("the clone URL cannot be read") // it may hold a secret: not repeated
	}
	if (address.Scheme != "https" && address.Scheme != "http") || address.Host == "" || address.User != nil {
		return remote{}, errors.New("the clone URL must be http or https, and have neither user nor password")
	}
	r := remote{protocol: address.Scheme, settings: []string{
		"remote.origin.url=" + address.String(),
		"remote.origin.promisor=true",
		filterSetting + "blob:none",
		"protocol.version=2",
		"http.lowSpeedLimit=1000", "http.lowSpeedTime=60", // bytes a second, seconds: a dead connection
	}}
	token, err := m.cred(ctx, repo)
	if err != nil {
		return remote{}, fmt.Errorf("get a token: %w", err)
	}
	if token != "" {
		basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
		r.secrets = []string{token, basic}
		// Only for this host: a redirect elsewhere goes without it.
		r.settings = append(r.settings, "http."+address.Scheme+"://"+address.Host+"/.extraHeader=Authorization: Basic "+basic)
	}
	return r, nil
}

// filterSetting is the key that says which objects a fetch leaves out.
const filterSetting = "remote.origin.partialclonefilter="

// cutSetting splits KEY=VALUE. Keys that hold a URL have no equals sign in them.
func cutSetting(setting string) (key, value string, ok bool) { return strings.Cut(setting, "=") }

func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, "�"))
}

func killGroup(cmd *exec.Cmd, signal syscall.Signal) error {
	if cmd.Process == nil {
		return nil
	}
	return platform.SignalGroup(cmd.Process.Pid, signal) //nolint:wrapcheck // os/exec reads it
}

// limited keeps the first max bytes. Beyond them it fails, or drops the rest silently when cut.
type limited struct {
	bytes.Buffer

	max int
	cut bool
}

// Write keeps what fits.
func (l *limited) Write(p []byte) (int, error) {
	room := l.max - l.Len()
	if len(p) <= room {
		return l.Buffer.Write(p) //nolint:wrapcheck // never fails
	}
	if !l.cut {
		return 0, errTooMuch
	}
	l.Buffer.Write(p[:max(room, 0)])
	return len(p), nil
}

// lines calls each for every line that is written to it, without keeping the rest.
type lines struct {
	each func(line string) error
	rest []byte
}

// Write splits p into lines.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := l.each(string(line)); err != nil {
			return 0, err
		}
		l.rest = rest
	}
}
