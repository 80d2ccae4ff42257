// Package statelock speaks to the store that has a target's state, beside Terraform: it says who holds Terraform's lock of it, and
// puts a state that Terraform could not save beside the one that is there. Room runner calls it. It takes settings and credentials
// from where Terraform's own backend takes them and sends them nowhere else, never writes to the state itself, and prints nothing.
package statelock

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/switchyard-dev/switchyard/operation"
)

// Azurerm is the type of the backend that this package knows.
// https://developer.hashicorp.com/terraform/language/backend/azurerm
const Azurerm = "azurerm"

// ErrExists says that there is a blob of that name already: none is written over.
var ErrExists = errors.New("there is a blob of that name already")

// State is one state in a storage account.
type State struct {
	settings settings
	access   access
}

// access is how requests to the storage account are made. One of key and token is set, or neither: then the signature is in the query.
type access struct {
	options policy.ClientOptions
	key     *blob.SharedKeyCredential
	token   azcore.TokenCredential
	query   string
}

// Open finds out how the state of a root is reached. config is what `terraform init` noted of its azurerm backend, env what Terraform
// sees of the environment. Where the account's key has to be asked for, that is asked now.
func Open(ctx context.Context, config map[string]any, env map[string]string) (*State, error) {
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
	return &State{settings: s, access: access}, nil
}

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
		return "", fmt.Errorf("write blob %s: %w", name, brief(err))
	}
	return name, nil
}

// lockKey is the metadata that Terraform describes its lock in. Go's client gives keys with another case.
const lockKey = "terraformlockid"

// Lock says who holds the state's lock; nil when nobody does. The lease is the lock: metadata may be left over, or missing, and then
// all fields are empty.
func (s *State) Lock(ctx context.Context) (*operation.LockInfo, error) {
	client, err := s.blob(s.settings.key)
	if err != nil {
		return nil, err
	}
	found, err := client.GetProperties(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil, nil //nolint:nilnil // nobody holds a lock on what is not there
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the lease: %w", brief(err))
	}
	if found.LeaseStatus == nil || string(*found.LeaseStatus) != "locked" {
		return nil, nil //nolint:nilnil // free
	}
	for name, value := range found.Metadata {
		if strings.EqualFold(name, lockKey) && value != nil {
			return describe(*value), nil
		}
	}
	return &operation.LockInfo{}, nil
}

// maxField bounds each field of a lock's description, in bytes.
const maxField = 512

// describe reads Terraform's description of a lock. What cannot be read is empty.
func describe(encoded string) *operation.LockInfo {
	info := &operation.LockInfo{}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return info
	}
	var said struct {
		ID, Path, Operation, Who, Version, Created string
	}
	if json.Unmarshal(data, &said) != nil { //nolint:musttag // Terraform's names are those of the fields
		return info
	}
	info.ID, info.Path, info.Operation = clip(said.ID), clip(said.Path), clip(said.Operation)
	info.Who, info.Version, info.Created = clip(said.Who), clip(said.Version), clip(said.Created)
	return info
}

func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxField)], "")
}

// blob is a client for one blob of the container.
func (s *State) blob(name string) (*blockblob.Client, error) {
	at := url.URL{Scheme: "https", Host: s.settings.account + ".blob." + s.settings.storage, RawQuery: s.access.query}
	at.Path = "/" + s.settings.container + "/" + name
	options := &blockblob.ClientOptions{ClientOptions: s.access.options}
	var client *blockblob.Client
	var err error
	switch {
	case s.access.key != nil:
		client, err = blockblob.NewClientWithSharedKeyCredential(at.String(), s.access.key, options)
	case s.access.token != nil:
		client, err = blockblob.NewClient(at.String(), s.access.token, options)
	default:
		client, err = blockblob.NewClientWithNoCredential(at.String(), options)
	}
	if err != nil {
		return nil, fmt.Errorf("make a client for blob %s: %w", name, brief(err))
	}
	return client, nil
}

// brief makes an error of the SDK one line without the address, whose query may be a signature.
func brief(err error) error {
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("%d %s", answer.StatusCode, answer.ErrorCode) //nolint:err113 // the SDK's would print request and answer
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
