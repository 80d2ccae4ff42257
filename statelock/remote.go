package statelock

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/operation"
)

// remote is a state behind Terraform's http backend: a server with an address for the state and, perhaps, one for its lock.
// https://developer.hashicorp.com/terraform/language/backend/http
type remote struct {
	client         *http.Client
	address        *url.URL
	lock, unlock   *url.URL // nil: the server has no locks
	lockMethod     string
	unlockMethod   string
	user, password string
	headers        map[string]string
	patience       time.Duration // for one call
}

// openRemote reads the settings of the backend.
// https://developer.hashicorp.com/terraform/language/backend/http#configuration-variables
func openRemote(config map[string]any, env map[string]string) (Lock, error) {
	v := values{config, env}
	r := &remote{
		lockMethod:   cmp.Or(v.text("lock_method", "TF_HTTP_LOCK_METHOD"), "LOCK"),
		unlockMethod: cmp.Or(v.text("unlock_method", "TF_HTTP_UNLOCK_METHOD"), "UNLOCK"),
		user:         v.text("username", "TF_HTTP_USERNAME"), password: v.text("password", "TF_HTTP_PASSWORD"),
		headers: map[string]string{}, patience: oneCall,
	}
	given, _ := config["headers"].(map[string]any) // https://opentofu.org/docs/language/settings/backends/http/
	for name, value := range given {
		if value, ok := value.(string); ok {
			r.headers[name] = value
		}
	}
	for name, to := range map[string]**url.URL{"address": &r.address, "lock_address": &r.lock, "unlock_address": &r.unlock} {
		text := v.text(name, map[string]string{
			"address": "TF_HTTP_ADDRESS", "lock_address": "TF_HTTP_LOCK_ADDRESS", "unlock_address": "TF_HTTP_UNLOCK_ADDRESS",
		}[name])
		if text == "" {
			continue
		}
		at, err := url.Parse(text)
		if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			return nil, fmt.Errorf("the backend's %s is no http or https address", name) // and may have a password in it
		}
		*to = at
	}
	if r.address == nil {
		return nil, errors.New("the backend has no address")
	}
	transport, err := transportOf(env)
	if err != nil {
		return nil, err
	}
	if err := secure(transport, v); err != nil {
		return nil, err
	}
	r.client = stationary(transport)
	return r, nil
}

// secure has the certificates that the backend's settings name.
func secure(transport *http.Transport, v values) error {
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.InsecureSkipVerify = v.flag("skip_cert_verification", "", false)
	if text := v.text("client_ca_certificate_pem", "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"); text != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(text)) {
			return errors.New("the backend's client_ca_certificate_pem has no certificate")
		}
		transport.TLSClientConfig.RootCAs, transport.TLSClientConfig.InsecureSkipVerify = pool, false
	}
	certificate := v.text("client_certificate_pem", "TF_HTTP_CLIENT_CERTIFICATE_PEM")
	key := v.text("client_private_key_pem", "TF_HTTP_CLIENT_PRIVATE_KEY_PEM")
	if certificate == "" && key == "" {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		return errors.New("the backend's client_certificate_pem and client_private_key_pem are no pair") // the key is in the settings
	}
	transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	return nil
}

// Inspect reads the state, and tries to take the lock: there is no other way to see who has it. Where that succeeds, it is given back
// at once.
func (r *remote) Inspect(ctx context.Context) (operation.StateLock, error) {
	found := operation.StateLock{Backend: HTTP, Place: r.place(), Lease: operation.LeaseFree}
	if err := r.read(ctx, &found); err != nil {
		return found, err
	}
	if r.lock == nil {
		found.Notes = append(found.Notes, "This backend has no lock_address, so nothing stops two applies at once.")
		return found, nil
	}
	if r.unlock == nil { // what is taken could not be given back
		found.Notes = append(found.Notes, "This backend has no unlock_address, so whether it is locked is not known.")
		return found, nil
	}
	holder, err := r.try(ctx)
	if err != nil || holder == nil {
		return found, err
	}
	found.Lease = operation.LeaseHeld
	if holder.info.ID == "" {
		found.Notes = append(found.Notes, "The server does not say who holds the lock.")
		return found, nil
	}
	found.Info = holder.info
	if holder.info.Who == looker && holder.info.Operation == looking {
		found.Notes = append(found.Notes, "It is held as by a look of Switchyard at the lock, which has it for a moment only. "+
			"Where it is still held in a few minutes, that look was killed, and nothing works under it.")
	}
	return found, nil
}

// Break releases the lock with its holder's own description, once the server has said that the holder is the one that is meant. Servers
// need not compare anything themselves.
func (r *remote) Break(ctx context.Context, task operation.LockTask) (operation.Broken, error) {
	broken, err := r.release(ctx, task)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if now, lookErr := r.Inspect(limited); lookErr == nil {
		broken.Now = &now
	}
	return broken, err
}

// place is the address without what may be a credential.
func (r *remote) place() string {
	return (&url.URL{Scheme: r.address.Scheme, Host: r.address.Host, Path: r.address.Path}).String()
}

// read gets the state. https://developer.hashicorp.com/terraform/language/backend/http
func (r *remote) read(ctx context.Context, found *operation.StateLock) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	answer, err := r.send(ctx, http.MethodGet, r.address, nil)
	if err != nil {
		return fmt.Errorf("read the state: %w", brief(err))
	}
	defer func() { _ = answer.Body.Close() }() // read from
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotFound:
		found.Missing = noState
		return nil
	default:
		return refused("read the state", answer)
	}
	if at, err := http.ParseTime(answer.Header.Get("Last-Modified")); err == nil {
		found.Modified = at.UTC()
	}
	body := &counter{from: answer.Body}
	said, err := summarise(body, false)
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(body, maxState)) // white space, to know the size
	}
	found.Size = body.n
	if found.Size == 0 && errors.Is(err, errNoState) {
		found.Missing = noState
		return nil
	}
	fill(found, said, tidy(err))
	return nil
}

// counter counts what is read.
type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(into []byte) (int, error) {
	n, err := c.from.Read(into)
	c.n += int64(n)
	return n, err //nolint:wrapcheck // as it is
}

// holder is who has the lock, as the server says it.
type holder struct {
	info *operation.LockInfo
	raw  []byte
}

// maxTries is how often something is asked again when an answer was lost.
const maxTries = 3

// How a look at the lock describes itself while it has the lock.
const (
	looker  = "switchyard"
	looking = "inspect"
)

// try takes the lock and gives it back at once; nil when that went well, else who has it. When an answer is lost, the lock is asked for
// again under the same id: only so can be known whether it is ours, and a server may release a lock for whoever asks.
func (r *remote) try(ctx context.Context) (*holder, error) {
	id := uuid.NewString()
	mine, err := json.Marshal(map[string]string{
		"ID": id, "Operation": looking, "Info": "", "Who": looker, "Version": "", "Created": "0001-01-01T00:00:00Z", "Path": "",
	})
	if err != nil {
		return nil, fmt.Errorf("describe the lock: %w", err)
	}
	var taken bool
	var problem error
	for range maxTries {
		found, err := r.take(ctx, mine)
		switch {
		case err != nil:
			if denied := (*Denied)(nil); errors.As(err, &denied) || ctx.Err() != nil {
				return nil, r.leftover(taken, id, err)
			}
			problem = err
			continue
		case found != nil && found.info.ID != id:
			return found, nil // also when ours was released, although the answer was lost, and somebody came
		}
		taken = true
		finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.patience)
		problem = r.giveBack(finishing, mine)
		cancel()
		if problem == nil {
			return nil, nil //nolint:nilnil // nobody has it
		}
	}
	return nil, r.leftover(taken, id, problem)
}

// leftover says that a lock of ours may be left.
func (r *remote) leftover(taken bool, id string, err error) error {
	if !taken {
		return err
	}
	return fmt.Errorf("%w; the lock %s, which was taken to see whether it is free, may still be held", err, id)
}

// maxInfo bounds a lock's description, in bytes.
const maxInfo = 64 << 10

// take asks for the lock; nil when it was given.
func (r *remote) take(ctx context.Context, mine []byte) (*holder, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	answer, err := r.send(ctx, r.lockMethod, r.lock, mine)
	if err != nil {
		return nil, fmt.Errorf("ask for the lock: %w", brief(err))
	}
	defer func() { _ = answer.Body.Close() }() // read from
	switch answer.StatusCode {
	case http.StatusOK:
		return nil, nil //nolint:nilnil // it was given
	case http.StatusLocked, http.StatusConflict:
		raw, err := io.ReadAll(io.LimitReader(answer.Body, maxInfo+1))
		if err != nil {
			return nil, fmt.Errorf("read who has the lock: %w", brief(err))
		}
		if len(raw) > maxInfo {
			raw = nil
		}
		return &holder{info: describe(raw), raw: raw}, nil
	default:
		return nil, refused("ask for the lock", answer)
	}
}

// giveBack releases a lock. What is sent is its description as the server has it.
func (r *remote) giveBack(ctx context.Context, info []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	answer, err := r.send(ctx, r.unlockMethod, r.unlock, info)
	if err != nil {
		return fmt.Errorf("release the lock: %w", brief(err))
	}
	_ = answer.Body.Close() // nothing that is read
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent {
		return refused("release the lock", answer)
	}
	return nil
}

func (r *remote) release(ctx context.Context, task operation.LockTask) (broken operation.Broken, err error) {
	broken.NoCopy = "Terraform's http backend makes no copies."
	if r.lock != nil && r.unlock == nil {
		return broken, errors.New("the backend has no unlock_address, so its lock cannot be released from here: release it on the server")
	}
	if r.lock == nil {
		broken.How = operation.ReleasedBefore
		return broken, nil
	}
	var problem error
	sent := false
	for range maxTries {
		found, err := r.try(ctx)
		switch {
		case err != nil:
			return broken, errors.Join(problem, err)
		case found == nil && !sent:
			broken.How, broken.Verified = operation.ReleasedBefore, true
			return broken, nil
		case found == nil, sent && found.info.ID != task.ID: // or somebody else has it already
			broken.How, broken.Cleared, broken.Verified = operation.ReleasedTaken, true, true
			return broken, nil
		case found.info.ID == "":
			return broken, errors.New("the server does not say who holds the lock, so it cannot be told from another: release it there")
		case found.info.ID != task.ID:
			return broken, ErrOther
		}
		sent, problem = true, r.giveBack(ctx, found.raw)
		if denied := (*Denied)(nil); errors.As(problem, &denied) {
			return broken, problem
		}
	}
	return broken, errors.Join(errors.New("the server says that it is locked by the same holder still"), problem)
}

// send makes one request.
func (r *remote) send(ctx context.Context, method string, to *url.URL, body []byte) (*http.Response, error) {
	at := *to
	user := at.User
	at.User = nil
	request, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address or the method cannot be used")
	}
	for name, value := range r.headers {
		request.Header.Set(name, value)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	switch password, _ := user.Password(); {
	case r.user != "":
		request.SetBasicAuth(r.user, r.password)
	case user != nil:
		request.SetBasicAuth(user.Username(), password)
	}
	return r.client.Do(request) //nolint:wrapcheck // the caller says what it was for
}

// refused is an answer that is not one of those that mean something to Terraform.
func refused(doing string, answer *http.Response) error {
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		return &Denied{
			Doing: doing + ": " + answer.Status,
			Needs: "Give the backend a username and password, or a certificate, that may do this: " +
				"its settings are read, and TF_HTTP_USERNAME and TF_HTTP_PASSWORD",
		}
	}
	return fmt.Errorf("%s: the server answered %s", doing, clip(answer.Status))
}
