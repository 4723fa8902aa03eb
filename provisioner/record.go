package provisioner

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/provisioner/journal"
)

// entryOf is an attempt as it goes on record. What the driver has answered is not in it: the same request again tells.
func entryOf(a *Attempt) *journal.Entry {
	return &journal.Entry{
		Claim: *a.Claim, Class: a.Class, SelectedNode: a.SelectedNode, MigratedFrom: a.MigratedFrom, Source: a.Source,
		Secret: a.Secret, Request: a.Request, Template: a.Template, Began: time.Now(),
	}
}

// attemptOf is an attempt of a leader before. Its outcome is unknown.
func attemptOf(e *journal.Entry) *Attempt {
	began := e.Began
	if began.IsZero() { // the driver may have been asked all the same
		began = time.Now()
	}
	return &Attempt{
		Claim: &e.Claim, Class: e.Class, SelectedNode: e.SelectedNode, MigratedFrom: e.MigratedFrom, Source: e.Source,
		Secret: e.Secret, Request: e.Request, Template: e.Template, began: began, restored: true,
	}
}

// record puts an attempt on record before the driver hears of it.
func (c *Controller) record(ctx context.Context, attempt *Attempt) error {
	if c.journal == nil {
		return nil
	}
	notice := time.AfterFunc(patience, func() {
		c.event(attempt.Claim, corev1.EventTypeWarning, ReasonProvisioningFailed, fmt.Sprintf(
			"waiting for the journal: ConfigMap %s/%s could not be written for %s, and the driver is not asked before", c.config.JournalNamespace, c.config.JournalName, patience))
	})
	defer notice.Stop()
	ctx, step := c.begin(ctx, stepRecord)
	worker.Pause(ctx) // for as long as the API server is away
	defer worker.Resume(ctx)
	err := c.journal.Record(ctx, entryOf(attempt))
	step.end(err)
	return err
}

// closed is called when an attempt is closed.
func (c *Controller) closed(claim types.UID) {
	c.room.Released(claim)
	c.turns.release(claim)
	c.forget(claim)
}

// forget takes a closed attempt off the record.
func (c *Controller) forget(claim types.UID) {
	if c.journal != nil {
		c.journal.Forget(claim)
	}
}

// forgottenPause is how long the release of a volume's object waits for the journal: longer than a write of it takes.
const forgottenPause = 500 * time.Millisecond

// forgotten reports whether the attempt that a volume is from is off the record. Its object must not go before that: who leads next would take the
// volume for one that was never stored, and delete what people want to keep.
func (c *Controller) forgotten(pv *corev1.PersistentVolume) bool {
	return c.journal == nil || pv.Spec.ClaimRef == nil || c.journal.Forgotten(pv.Spec.ClaimRef.UID)
}

// restore opens the attempts that the leaders before left on record. It tries until the journal can be read: a claim that is provisioned anew
// without knowing what was asked before could get a second volume.
func (c *Controller) restore(ctx context.Context) {
	if c.journal == nil {
		return
	}
	logger := klog.FromContext(ctx)
	for pause := time.Second; ; pause = min(2*pause, c.config.BackoffMax) {
		entries, unreadable, err := c.journal.Load(ctx)
		if err == nil {
			c.restoreAll(ctx, entries, unreadable)
			return
		}
		logger.Info("Waiting for the journal", "err", err, "again", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (c *Controller) restoreAll(ctx context.Context, entries []*journal.Entry, unreadable []error) {
	logger := klog.FromContext(ctx)
	for _, problem := range unreadable {
		c.metrics.journalUnreadable.Inc()
		logger.Error(problem, "An entry of the journal cannot be read and is kept aside; the volume that it was of may exist in the driver")
		c.event(c.journalReference(), corev1.EventTypeWarning, ReasonJournalUnreadable, problem.Error())
	}
	restored := 0
	for _, entry := range entries {
		attempt := attemptOf(entry)
		uid := entry.UID()
		stored, err := absent(c.volumeLister.Get(attempt.Template.Name))
		if err == nil && storedHere(c.settings, stored, uid) {
			c.journal.Forget(uid) // it was stored; only the journal had not been told
			continue
		}
		if driver := entry.Template.Spec.CSI.Driver; driver != c.settings.Driver.Name {
			logger.Error(fmt.Errorf("volume %q is of driver %q", attempt.Request.GetName(), driver), "An entry of the journal is left alone", "claim", uid)
			continue
		}
		if !c.attempts.put(uid, attempt) {
			logger.Error(fmt.Errorf("volume %q is on record for two claims", attempt.Request.GetName()), "An entry of the journal is left alone", "claim", uid)
			continue
		}
		if attempt.Source.Name != "" {
			c.holds.take(uid, attempt.Source.Key())
		}
		restored++
		c.claimLoop.Enqueue(ClaimKey{Namespace: entry.Claim.Namespace, Name: entry.Claim.Name, UID: uid})
	}
	if len(entries) > 0 {
		logger.Info("Journal read", "entries", len(entries), "toBeFoundOut", restored)
	}
}

// countLeft says, once a term, what a journal holds that is not kept any more: nobody finds out about it. Whether that can be read does not matter to
// anything else.
func (c *Controller) countLeft(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	logger := klog.FromContext(ctx)
	name := klog.KRef(c.config.JournalNamespace, c.config.LeftJournal)
	switch count, err := journal.Count(ctx, c.client.CoreV1().ConfigMaps(c.config.JournalNamespace), c.config.LeftJournal); {
	case err != nil:
		logger.V(2).Info("Whether a journal was left behind cannot be told", "journal", name, "err", err)
	case count > 0:
		logger.Info("The journal is off, and one was left behind with volumes that may exist without an object: nobody finds out about them until it is on again. List them with: berth journal",
			"journal", name, "entries", count)
	}
}

// referring finds an object that refers to a restored attempt's volume, whatever its name: people may have taken over a volume that was kept.
func (c *Controller) referring(in Input) (*corev1.PersistentVolume, error) {
	attempt, claim := in.Attempt, in.Claim
	if attempt == nil || !attempt.restored || attempt.Volume == nil || claim != nil && claim.DeletionTimestamp == nil && claim.Spec.VolumeName == "" {
		return nil, nil
	}
	volumes, err := c.volumes.GetIndexer().ByIndex(indexVolumesByHandle, handleBucket(attempt.Volume.GetVolumeId()))
	if err != nil {
		return nil, fmt.Errorf("look for volumes with handle %q: %w", attempt.Volume.GetVolumeId(), err)
	}
	for _, object := range volumes {
		if pv, ok := object.(*corev1.PersistentVolume); ok && refersTo(c.settings, pv, attempt.Volume.GetVolumeId()) {
			return pv, nil
		}
	}
	return nil, nil
}

// journalReference is what events about the journal are about.
func (c *Controller) journalReference() *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "ConfigMap", APIVersion: "v1", Namespace: c.config.JournalNamespace, Name: c.config.JournalName}
}

// journalDegraded tells people that nothing is recorded.
func (c *Controller) journalDegraded(err error) {
	c.event(c.journalReference(), corev1.EventTypeWarning, ReasonJournalUnwritable, fmt.Sprintf(
		"volumes are created without a record, and one can be lost if the provisioner is killed meanwhile; grant get, create and patch on configmaps in namespace %q: %v",
		c.config.JournalNamespace, err))
}

func (c *Controller) newJournal(identity string) *journal.Journal {
	return journal.New(journal.Config{
		ConfigMaps: c.client.CoreV1().ConfigMaps(c.config.JournalNamespace),
		Name:       c.config.JournalName,
		Holder:     identity,
		Label:      c.config.JournalLabel,
		Node:       c.settings.Node.Name,
		Owner:      c.config.JournalOwner,
		Observe: func(entries int, took time.Duration, err error) {
			result := "done"
			if err != nil {
				result = "failed"
			}
			c.metrics.journalWrites.WithLabelValues(result).Inc()
			c.metrics.journalEntries.Add(float64(entries))
			c.metrics.journalDuration.Observe(took.Seconds())
		},
		Degraded: c.journalDegraded,
	})
}
