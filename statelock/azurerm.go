package statelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/switchyard-dev/switchyard/operation"
)

// State is one state in a storage account.
type State struct {
	settings settings
	access   access
	patience time.Duration // for one call, with what is repeated of it
}

// access is how requests to the storage account are made. One of key and token is set, or neither: then the signature is in the query.
type access struct {
	options policy.ClientOptions
	key     *blob.SharedKeyCredential
	token   azcore.TokenCredential
	query   string
}

// OpenState is Open for the azurerm backend. Where the account's key has to be asked for, that is asked now.
func OpenState(ctx context.Context, config map[string]any, env map[string]string) (*State, error) {
	s, err := read(config, env)
	if err != nil {
		return nil, err
	}
	transport, err := clientOf(env)
	if err != nil {
		return nil, err
	}
	access, err := accessOf(ctx, s, policy.ClientOptions{
		Cloud: s.cloud, Transport: transport, Retry: policy.RetryOptions{MaxRetries: retries},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	})
	if err != nil {
		return nil, err
	}
	return &State{settings: s, access: access, patience: oneCall}, nil
}

// oneCall is how long one call may take, with what is repeated of it.
const oneCall = 30 * time.Second

// retries is how often one request is repeated after an answer that says so. What is kept here is kept in the last seconds of a job.
const retries = 2

// Account is the storage account of the state.
func (s *State) Account() string { return s.settings.account }

// Container is the container of the state.
func (s *State) Container() string { return s.settings.container }

// Keep writes a blob beside the state, named as the state with suffix behind it, and gives its name. It writes over nothing: ErrExists.
func (s *State) Keep(ctx context.Context, suffix string, content io.ReadSeekCloser) (string, error) {
	name := s.settings.key + suffix
	client, err := s.blob(name)
	if err != nil {
		return "", err
	}
	_, err = client.Upload(ctx, content, &blockblob.UploadOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("application/json")},
		AccessConditions: &blob.AccessConditions{
			ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)},
		},
	})
	if bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet) {
		return "", ErrExists
	}
	if err != nil {
		return "", s.failed("write blob "+name, toWrite, err)
	}
	return name, nil
}

// Lock says who holds the state's lock; nil when nobody does. The lease is the lock: metadata may be left over, or missing, and then
// all fields are empty.
func (s *State) Lock(ctx context.Context) (*operation.LockInfo, error) {
	found, err := s.seen(ctx)
	switch {
	case err != nil:
		return nil, err
	case !found.locked():
		return nil, nil //nolint:nilnil // nobody holds it
	case found.info == nil:
		return &operation.LockInfo{}, nil
	}
	return found.info, nil
}

// Recover has the commands that bring a blob beside the state back to where the state is, one a line.
func (s *State) Recover(name string) string {
	const file = "errored.tfstate"
	return fmt.Sprintf("az storage blob download --auth-mode login --account-name %s --container-name %s --name %s --file %s\n"+
		"terraform state push %s", word(s.settings.account), word(s.settings.container), word(name), file, file)
}

// blob is a client for one blob of the container.
func (s *State) blob(name string) (*blockblob.Client, error) {
	at := s.at("/" + name)
	options := &blockblob.ClientOptions{ClientOptions: s.access.options}
	var client *blockblob.Client
	var err error
	switch {
	case s.access.key != nil:
		client, err = blockblob.NewClientWithSharedKeyCredential(at, s.access.key, options)
	case s.access.token != nil:
		client, err = blockblob.NewClient(at, s.access.token, options)
	default:
		client, err = blockblob.NewClientWithNoCredential(at, options)
	}
	if err != nil {
		return nil, fmt.Errorf("make a client for blob %s: %w", name, brief(err))
	}
	return client, nil
}

// at is the address of something in the container.
func (s *State) at(path string) string {
	at := url.URL{Scheme: "https", Host: s.settings.account + ".blob." + s.settings.storage, RawQuery: s.access.query}
	at.Path = "/" + s.settings.container + path
	return at.String()
}

// The roles that let an identity read blobs, and write them.
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage
const (
	toRead  = "Storage Blob Data Reader"
	toWrite = "Storage Blob Data Contributor"
	toList  = "Storage Account Key Operator Service Role" // to read the keys of the account
)

// failed says what failed, and where the storage account refused it, what is missing.
func (s *State) failed(doing, role string, err error) error {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || answer.StatusCode != http.StatusForbidden {
		return fmt.Errorf("%s: %w", doing, brief(err))
	}
	denied := &Denied{Doing: fmt.Sprintf("%s: %v", doing, brief(err))}
	where := fmt.Sprintf("the container %s of the storage account %s", s.settings.container, s.settings.account)
	switch {
	case answer.ErrorCode == "AuthorizationFailure" && s.access.token != nil, answer.ErrorCode == "IpAuthorizationError":
		denied.Needs = "The network rules of the storage account " + s.settings.account + " let nobody in from here"
	case s.access.token != nil:
		denied.Needs = "Give " + s.settings.who() + " the role `" + role + "` on " + where
	case s.access.key != nil:
		denied.Needs = "The access key is not one of the storage account " + s.settings.account + ", or keys may not be used there any more"
	default:
		allows := map[string]string{toRead: "read and list", toWrite: "read, list, create and write"}[role]
		denied.Needs = "Give the backend a SAS that has not expired and that may " + allows + " blobs in " + where
	}
	return denied
}

// who is the identity that asks.
func (s *settings) who() string {
	if s.client != "" {
		return "the identity with the client id " + s.client
	}
	return "the identity that this works as"
}

// refusal is the code by which the identity platform says why it refuses.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
var refusal = regexp.MustCompile(`AADSTS\d+`)

// brief makes an error of the SDK one line without the address, whose query may be a signature.
func brief(err error) error {
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("%d %s", answer.StatusCode, answer.ErrorCode) //nolint:err113 // the SDK's would print request and answer
	}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return errors.New(strings.TrimSpace("the identity platform gave no token " + refusal.FindString(failed.Error())))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
