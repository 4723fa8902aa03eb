package journal

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/datasource"
)

// version of the entries that this package writes, and the only one it reads.
const version = 1

// maxEntry bounds what an entry may unpack to: a request that names every segment of a very large cluster is about 1 MB.
const maxEntry = 16 << 20

// Entry is a volume that is about to be created, or may have been: all that it takes to find out, and then to store it or delete it. It
// never holds secrets, only the name of one.
type Entry struct {
	Claim        corev1.ObjectReference
	Class        string
	SelectedNode string
	MigratedFrom string
	Source       datasource.Reference
	Secret       *corev1.SecretReference
	Request      *csipb.CreateVolumeRequest // sealed
	Template     *corev1.PersistentVolume   // of the object to be written
	Began        time.Time
}

// UID identifies the entry: a claim has at most one.
func (e *Entry) UID() types.UID { return e.Claim.UID }

// document is an entry as it is stored.
type document struct {
	Version      int                      `json:"version"`
	Claim        corev1.ObjectReference   `json:"claim"`
	Class        string                   `json:"class"`
	SelectedNode string                   `json:"selectedNode,omitempty"`
	MigratedFrom string                   `json:"migratedFrom,omitempty"`
	Source       *datasource.Reference    `json:"source,omitempty"`
	Secret       *corev1.SecretReference  `json:"secret,omitempty"`
	Request      []byte                   `json:"request"` // protobuf
	Template     *corev1.PersistentVolume `json:"template"`
	Began        time.Time                `json:"began"`
}

// encode makes the stored form of an entry.
func encode(entry *Entry) ([]byte, error) {
	if len(entry.Request.GetSecrets()) > 0 {
		return nil, errors.New("the request holds secrets, which must not be recorded")
	}
	request, err := proto.Marshal(entry.Request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	stored := document{
		Version: version, Claim: entry.Claim, Class: entry.Class, SelectedNode: entry.SelectedNode, MigratedFrom: entry.MigratedFrom,
		Secret: entry.Secret, Request: request, Template: entry.Template, Began: entry.Began,
	}
	if entry.Source != (datasource.Reference{}) {
		stored.Source = &entry.Source
	}
	plain, err := json.Marshal(stored)
	if err != nil {
		return nil, err
	}
	return pack(plain)
}

// packers are compressors at rest. One is a megabyte, and costs more to make than to use.
var packers sync.Pool //nolint:gochecknoglobals // memory to be used again, no state

func pack(plain []byte) ([]byte, error) {
	var packed bytes.Buffer
	writer, ok := packers.Get().(*flate.Writer)
	if ok {
		writer.Reset(&packed) // which keeps the dictionary
	} else {
		var err error
		if writer, err = flate.NewWriterDict(&packed, flate.BestSpeed, dictionary); err != nil {
			return nil, err
		}
	}
	defer packers.Put(writer)
	if _, err := writer.Write(plain); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// decode reads the stored form. key is the UID under which it was stored.
func decode(key string, packed []byte) (*Entry, error) {
	reader := flate.NewReaderDict(bytes.NewReader(packed), dictionary)
	plain, err := io.ReadAll(io.LimitReader(reader, maxEntry+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(plain) > maxEntry {
		return nil, fmt.Errorf("unpacks to more than %d bytes", maxEntry)
	}
	var stored document
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if stored.Version != version {
		return nil, fmt.Errorf("is of version %d, this program reads version %d", stored.Version, version)
	}
	entry := &Entry{
		Claim: stored.Claim, Class: stored.Class, SelectedNode: stored.SelectedNode, MigratedFrom: stored.MigratedFrom,
		Secret: stored.Secret, Template: stored.Template, Began: stored.Began, Request: &csipb.CreateVolumeRequest{},
	}
	if stored.Source != nil {
		entry.Source = *stored.Source
	}
	if err := proto.Unmarshal(stored.Request, entry.Request); err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	switch {
	case string(entry.Claim.UID) != key:
		return nil, fmt.Errorf("is of the claim with UID %q, not of the one it is stored under", entry.Claim.UID)
	case entry.Claim.Namespace == "" || entry.Claim.Name == "":
		return nil, errors.New("does not name its claim")
	case entry.Request.GetName() == "":
		return nil, errors.New("has a request without a volume name")
	case entry.Template == nil || entry.Template.Spec.CSI == nil || entry.Template.Name != entry.Request.GetName():
		return nil, errors.New("has no object to be written for its volume")
	case len(entry.Request.GetSecrets()) > 0:
		return nil, errors.New("holds secrets, which were never recorded by this program")
	}
	return entry, nil
}
