package main_test

import (
	"encoding/base64"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/switchyard-dev/switchyard/sandbox/azure"
)

// leased makes a state with a lease, and with the description that Terraform writes where info is not empty.
func leased(t *testing.T, cloud *azure.Azure, key, id, info string) {
	t.Helper()
	state := cloud.Container().NewBlockBlobClient(key)
	_, err := state.UploadBuffer(t.Context(), []byte(lockState), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := lease.NewBlobClient(state, &lease.BlobClientOptions{LeaseID: &id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AcquireLease(t.Context(), -1, nil); err != nil {
		t.Fatal(err)
	}
	if info == "" {
		return
	}
	_, err = state.SetMetadata(t.Context(), map[string]*string{"terraformlockid": new(base64.StdEncoding.EncodeToString([]byte(info)))},
		&blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}}})
	if err != nil {
		t.Fatal(err)
	}
}
