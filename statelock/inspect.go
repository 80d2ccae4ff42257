package statelock

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/switchyard-dev/switchyard/operation"
)

// lockKey is the metadata that Terraform describes its lock in. Go's client gives keys with another case.
const lockKey = "terraformlockid"

// What is not there.
const (
	noState     = "state"
	noContainer = "container"
)

// sighting is what a blob's properties say of its lock, at one moment.
type sighting struct {
	missing  string
	etag     string // without quotes
	status   string // locked, unlocked
	state    string // available, leased, expired, breaking, broken
	size     int64
	modified time.Time
	metadata map[string]*string
	info     *operation.LockInfo // nil: no description that can be read
	note     string
}

// locked is read from the lease and from nothing else.
// https://learn.microsoft.com/rest/api/storageservices/lease-blob#lease-states
func (s *sighting) locked() bool { return s.status == "locked" }

// holder is the id of the lock, as its description says it.
func (s *sighting) holder() string {
	if s.info == nil {
		return ""
	}
	return s.info.ID
}

func (s *sighting) lease() operation.LeaseState {
	switch {
	case s.locked():
		return operation.LeaseHeld
	case s.state == "broken":
		return operation.LeaseBroken
	default:
		return operation.LeaseFree
	}
}

// readInfo finds the description among the metadata.
func (s *sighting) readInfo() {
	for name, value := range s.metadata {
		if !strings.EqualFold(name, lockKey) || value == nil {
			continue
		}
		if data, err := base64.StdEncoding.DecodeString(*value); err == nil {
			s.info = describe(data)
		}
		if s.info == nil || s.info.ID == "" {
			s.info, s.note = nil, "What is written about the lock's holder cannot be read."
		}
	}
}

// absent tells from an error what is not there; empty: that is not the error.
func absent(err error) string {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case !ok || answer.StatusCode != http.StatusNotFound:
		return ""
	case bloberror.HasCode(err, bloberror.ContainerNotFound, bloberror.ContainerBeingDeleted):
		return noContainer
	default:
		return noState
	}
}

// seen asks for the properties of the state.
func (s *State) seen(ctx context.Context) (sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	client, err := s.blob(s.settings.key)
	if err != nil {
		return sighting{}, err
	}
	found, err := client.GetProperties(ctx, nil)
	if missing := absent(err); missing != "" {
		return sighting{missing: missing}, nil
	}
	if err != nil {
		return sighting{}, s.failed("ask for the lease", toRead, err)
	}
	sight := sighting{
		etag: tag(found.ETag), status: text(found.LeaseStatus), state: text(found.LeaseState), size: value(found.ContentLength),
		modified: value(found.LastModified), metadata: found.Metadata,
	}
	sight.readInfo()
	return sight, nil
}

// Inspect reads the state with its lease and its metadata in one answer, so that they are of one moment, and what is beside it.
func (s *State) Inspect(ctx context.Context) (operation.StateLock, error) {
	found, err := s.whole(ctx)
	if err == nil && found.Missing != noContainer {
		s.beside(ctx, &found)
	}
	return found, err
}

func (s *State) whole(ctx context.Context) (operation.StateLock, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	found := operation.StateLock{Backend: Azurerm, Place: s.settings.account + "/" + s.settings.container + "/" + s.settings.key}
	client, err := s.blob(s.settings.key)
	if err != nil {
		return found, err
	}
	got, err := client.DownloadStream(ctx, nil)
	if missing := absent(err); missing != "" {
		found.Missing, found.Lease = missing, operation.LeaseFree
		return found, nil
	}
	if err != nil {
		return found, s.failed("read the state", toRead, err)
	}
	defer func() { _ = got.Body.Close() }() // read from
	sight := sighting{status: text(got.LeaseStatus), state: text(got.LeaseState), metadata: got.Metadata}
	sight.readInfo()
	found.Lease, found.Info, found.ETag = sight.lease(), sight.info, tag(got.ETag)
	found.Size, found.Modified = value(got.ContentLength), value(got.LastModified).UTC()
	if sight.note != "" {
		found.Notes = append(found.Notes, sight.note)
	}
	if sight.state == "breaking" {
		found.Notes = append(found.Notes, "Somebody is breaking the lease: it ends by itself in less than a minute.")
	}
	if found.Size > 0 { // an empty one was made by the first apply, to have something to lock
		read, err := summarise(got.Body, false)
		fill(&found, read, tidy(err))
	}
	return found, nil
}

// Bounds of what is looked at beside a state.
const (
	maxListed  = 1000
	maxErrored = 10
)

// beside finds the states that applies could not save and that Keep put there. That it fails is noted.
func (s *State) beside(ctx context.Context, found *operation.StateLock) {
	listed, err := s.list(ctx, s.settings.key+".errored-")
	if err != nil {
		found.Notes = append(found.Notes, fmt.Sprintf("Whether states that could not be saved are beside it is not known: %v.", err))
		return
	}
	slices.SortFunc(listed, func(a, b operation.ErroredState) int {
		return cmp.Or(b.Modified.Compare(a.Modified), cmp.Compare(a.Place, b.Place))
	})
	if more := len(listed) - maxErrored; more > 0 {
		found.Notes = append(found.Notes, fmt.Sprintf("%d older states that could not be saved are beside it, too.", more))
		listed = listed[:maxErrored]
	}
	for i := range listed {
		name := listed[i].Place
		listed[i].Place = s.settings.account + "/" + s.settings.container + "/" + name
		read, err := s.head(ctx, name)
		if err != nil && !errors.Is(err, errNoState) {
			listed[i].Why = fmt.Sprintf("It could not be read: %v.", err)
			continue
		}
		listed[i].Lineage, listed[i].Serial = read.lineage, read.serial
		Compare(*found, &listed[i], s.Recover(name))
	}
	found.Errored = listed
}

// list gives the blobs whose names begin so; Place is the name only.
func (s *State) list(ctx context.Context, prefix string) ([]operation.ErroredState, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	client, err := s.inContainer()
	if err != nil {
		return nil, err
	}
	pages := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, MaxResults: new(int32(maxListed))})
	page, err := pages.NextPage(ctx)
	if err != nil {
		return nil, s.failed("list the blobs beside the state", toRead, err)
	}
	var listed []operation.ErroredState
	if page.Segment == nil {
		return nil, nil
	}
	for _, item := range page.Segment.BlobItems {
		if item == nil || item.Name == nil || item.Properties == nil || !strings.HasPrefix(*item.Name, prefix) {
			continue
		}
		listed = append(listed, operation.ErroredState{Place: *item.Name, Modified: value(item.Properties.LastModified).UTC()})
	}
	return listed, nil
}

// head reads lineage and serial of a blob beside the state.
func (s *State) head(ctx context.Context, name string) (summary, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	client, err := s.blob(name)
	if err != nil {
		return summary{}, err
	}
	got, err := client.DownloadStream(ctx, nil)
	if err != nil {
		return summary{}, s.failed("read blob "+name, toRead, err)
	}
	defer func() { _ = got.Body.Close() }() // read from
	read, err := summarise(got.Body, true)
	return read, tidy(err)
}

// tidy makes an error of reading one line without an address.
func tidy(err error) error {
	if err == nil {
		return nil
	}
	return brief(err)
}

// inContainer is a client for the container.
func (s *State) inContainer() (*container.Client, error) {
	at := s.at("")
	options := &container.ClientOptions{ClientOptions: s.access.options}
	var client *container.Client
	var err error
	switch {
	case s.access.key != nil:
		client, err = container.NewClientWithSharedKeyCredential(at, s.access.key, options)
	case s.access.token != nil:
		client, err = container.NewClient(at, s.access.token, options)
	default:
		client, err = container.NewClientWithNoCredential(at, options)
	}
	if err != nil {
		return nil, fmt.Errorf("make a client for container %s: %w", s.settings.container, brief(err))
	}
	return client, nil
}

// tag is an etag as people can give it on a command line: without its quotes.
func tag(etag *azcore.ETag) string {
	if etag == nil {
		return ""
	}
	return strings.Trim(string(*etag), `"`)
}

// onlyIf is the condition that a blob has an etag.
func onlyIf(etag string) *blob.ModifiedAccessConditions {
	return &blob.ModifiedAccessConditions{IfMatch: new(azcore.ETag(`"` + etag + `"`))}
}

func text[T ~string](of *T) string {
	if of == nil {
		return ""
	}
	return string(*of)
}

func value[T any](of *T) T {
	if of == nil {
		var none T
		return none
	}
	return *of
}
