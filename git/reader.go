package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxReaders bounds the processes that are kept to read objects, one for each repository that was
// looked at last.
const maxReaders = 8

// The kinds of object, as git names them.
const (
	kindCommit = "commit"
	kindTree   = "tree"
	kindBlob   = "blob"
)

// reader is one running "git cat-file --batch-command". It is asked for objects by their full names
// only, so no name of a branch or file reaches it; it knows no remote, and so it has no token.
type reader struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *limited
}

// isObject reports whether s is the full name of an object: SHA-1 or SHA-256, in lower case.
func isObject(s string) bool {
	const sha1, sha256 = 40, 64
	return (len(s) == sha1 || len(s) == sha256) && strings.Trim(s, "0123456789abcdef") == ""
}

// stat gives an object's kind and size; false when the mirror lacks it.
func (m *Mirrors) stat(ctx context.Context, repo operation.Repository, object string) (kind string, size int64, ok bool, err error) {
	err = m.ask(ctx, repo, func(r *reader) error {
		kind, size, ok, err = r.header("info", object)
		return err
	})
	return kind, size, ok, err
}

// read gives an object of one kind; false when the mirror lacks it.
func (m *Mirrors) read(ctx context.Context, repo operation.Repository, object, kind string, limit int64) ([]byte, bool, error) {
	var data []byte
	found, size, ok, err := m.stat(ctx, repo, object)
	switch {
	case err != nil || !ok:
		return nil, false, err
	case found != kind:
		return nil, false, fmt.Errorf("%s is a %s, not a %s", object, found, kind)
	case size > limit:
		return nil, false, fmt.Errorf("%s has %d bytes; at most %d are read", object, size, limit)
	}
	err = m.ask(ctx, repo, func(r *reader) error {
		_, size, ok, err := r.header("contents", object)
		if err != nil || !ok {
			return err
		}
		data = make([]byte, size+1) // a line end follows
		_, err = io.ReadFull(r.out, data)
		return err //nolint:wrapcheck // ask does
	})
	if err != nil || data == nil {
		return nil, false, err
	}
	return data[:len(data)-1], true, nil
}

// header sends one request and reads the first line of the answer.
func (r *reader) header(command, object string) (kind string, size int64, ok bool, err error) {
	if _, err := io.WriteString(r.in, command+" "+object+"\n"); err != nil {
		return "", 0, false, err //nolint:wrapcheck // ask does
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return "", 0, false, err //nolint:wrapcheck // ask does
	}
	if line == object+" missing\n" {
		return "", 0, false, nil
	}
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != object { //nolint:mnd // object, kind, size
		return "", 0, false, fmt.Errorf("unexpected answer %q", line)
	}
	size, err = strconv.ParseInt(fields[2], 10, 64)
	return fields[1], size, true, err //nolint:wrapcheck // ask does
}

// ask lets one question be asked of the repository's reader. A reader that fails is ended, and one
// that had answered before is replaced once: it may have died of something that is over.
func (m *Mirrors) ask(ctx context.Context, repo operation.Repository, question func(*reader) error) error {
	mir := m.mirror(repo)
	if err := mir.reading.lock(ctx); err != nil {
		return fmt.Errorf("wait for the mirror: %w", err)
	}
	defer mir.reading.unlock()
	for {
		fresh := mir.reader == nil
		if fresh {
			if err := m.startReader(mir); err != nil {
				return fmt.Errorf("%s: %w", repo.FullName(), err)
			}
		}
		m.keepReader(mir)
		r := mir.reader
		stop := context.AfterFunc(ctx, func() { _ = killGroup(r.cmd, syscall.SIGKILL) })
		err := question(r)
		if stop() && err == nil {
			return nil
		}
		text := strings.TrimSpace(mir.stopReader())
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("read the mirror: %w", context.Cause(ctx))
		case fresh:
			return &CommandError{Command: "cat-file", Code: -1, Text: text, Err: err}
		}
	}
}

func (m *Mirrors) startReader(mir *mirror) error {
	if _, err := os.Stat(mir.gitDir); errors.Is(err, os.ErrNotExist) {
		return ErrNoMirror
	}
	// Its life is that of the mirrors: it outlives the caller.
	cmd, _, err := m.command(m.ctx, mir, call{args: []string{"cat-file", "--batch-command"}})
	if err != nil {
		return err
	}
	r := &reader{cmd: cmd, stderr: &limited{max: maxErrorText, cut: true}}
	cmd.Stderr = r.stderr
	if r.in, err = cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start git cat-file: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start git cat-file: %w", err)
	}
	r.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start git cat-file: %w", err)
	}
	mir.reader = r
	return nil
}

// stopReader ends the reader, if there is one, and gives what it complained about. The caller holds
// reading.
func (mir *mirror) stopReader() string {
	r := mir.reader
	if r == nil {
		return ""
	}
	mir.reader = nil
	_ = r.in.Close()
	_ = killGroup(r.cmd, syscall.SIGKILL)
	_ = r.cmd.Wait() // it was killed: how it ended says nothing
	return redact(r.stderr.String(), nil)
}

// keepReader notes that a reader is used, and ends the one that was not used for longest when there
// are too many.
func (m *Mirrors) keepReader(mir *mirror) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readers = append(slices.DeleteFunc(m.readers, func(other *mirror) bool { return other == mir }), mir)
	for i := 0; len(m.readers) > maxReaders && i < len(m.readers)-1; {
		oldest := m.readers[i]
		if !oldest.reading.tryLock() {
			i++ // it is in use
			continue
		}
		oldest.stopReader()
		oldest.reading.unlock()
		m.readers = slices.Delete(m.readers, i, i+1)
	}
}
