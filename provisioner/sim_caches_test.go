package provisioner

import (
	"k8s.io/client-go/tools/cache"

	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/simtest"
)

// simFeed is one of a controller's caches as an informer keeps it, at its own pace: changes arrive in order, any time after they were made, and
// handlers hear of them any time after that.
type simFeed struct {
	kind    simtest.Kind
	server  *simtest.Server
	store   cache.Store
	handler cache.ResourceEventHandler
	trim    cache.TransformFunc
	at      int      // of the server's log
	untold  []func() // what handlers are to be called with
}

// simFeeds are the caches that a controller has with its settings.
func simFeeds(c *Controller, server *simtest.Server) []*simFeed {
	trim := kube.Trim(testDriver, "")
	if !c.settings.Node.IsZero() {
		trim = kube.TrimForNode(testDriver, "", c.settings.Elsewhere)
	}
	feed := func(kind simtest.Kind, store cache.Store, handler cache.ResourceEventHandler) *simFeed {
		if store == nil {
			store = cache.NewStore(cache.MetaNamespaceKeyFunc)
		}
		return &simFeed{kind: kind, server: server, store: store, handler: handler, trim: trim}
	}
	feeds := []*simFeed{
		feed(simtest.Classes, c.classes.GetStore(), c.classEvents()),
		feed(simtest.Volumes, c.volumes.GetStore(), c.volumeEvents()),
		feed(simtest.Claims, c.claims.GetStore(), c.claimEvents()),
	}
	if c.attachments != nil {
		feeds = append(feeds, feed(simtest.Attachments, c.attachments.GetStore(), c.attachmentEvents()))
	}
	if c.settings.Driver.Snapshots {
		feeds = append(feeds, feed(simtest.Snapshots, nil, c.snapshotEvents()))
	}
	if index := c.config.Topology; index != nil && c.settings.Node.IsZero() {
		feeds = append(feeds, feed(simtest.Nodes, nil, index.NodeEvents()), feed(simtest.CSINodes, nil, index.CSINodeEvents(testDriver)))
	}
	return feeds
}

// trimmed is an object as our informers keep it.
func (f *simFeed) trimmed(object simtest.Object) any {
	kept, err := f.trim(object.DeepCopyObject())
	if err != nil {
		panic(err)
	}
	return kept
}

// behind is the number of changes that the cache has not seen.
func (f *simFeed) behind() int { return len(f.server.Log(f.kind)) - f.at }

// sync has the cache, which is empty, list what there was when the server's log had so many entries.
func (f *simFeed) sync(at int) {
	for f.at < at {
		f.receive()
		f.untold = nil
	}
	for _, object := range f.store.List() {
		f.handler.OnAdd(object, true)
	}
}

// receive takes the next change into the cache.
func (f *simFeed) receive() {
	event := f.server.Log(f.kind)[f.at]
	f.at++
	if event.New == nil {
		gone := f.trimmed(event.Old)
		_ = f.store.Delete(gone) // only fails without a key
		f.untold = append(f.untold, func() { f.handler.OnDelete(gone) })
		return
	}
	f.replace(f.trimmed(event.New))
}

func (f *simFeed) replace(object any) {
	old, known, _ := f.store.Get(object)
	_ = f.store.Update(object)
	if known {
		f.untold = append(f.untold, func() { f.handler.OnUpdate(old, object) })
	} else {
		f.untold = append(f.untold, func() { f.handler.OnAdd(object, false) })
	}
}

// tell calls handlers with the oldest change that they have not heard of.
func (f *simFeed) tell() {
	next := f.untold[0]
	f.untold = f.untold[1:]
	next()
}

// relist is what an informer does whose watch broke for long: what there is now counts, and what was between is never heard of.
func (f *simFeed) relist() {
	f.at = len(f.server.Log(f.kind))
	there := map[string]bool{}
	for _, object := range f.server.List(f.kind) {
		there[simtest.Key(object.GetNamespace(), object.GetName())] = true
		old, known, _ := f.store.Get(object)
		if cached, ok := old.(simtest.Object); !known || ok && cached.GetResourceVersion() != object.GetResourceVersion() {
			f.replace(f.trimmed(object))
		}
	}
	for _, key := range f.store.ListKeys() {
		if old, _, _ := f.store.GetByKey(key); !there[key] {
			_ = f.store.Delete(old)
			f.untold = append(f.untold, func() { f.handler.OnDelete(cache.DeletedFinalStateUnknown{Key: key, Obj: old}) })
		}
	}
}
