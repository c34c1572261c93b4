// proc_dwarf.cc: makes sure that debuggers find what they need. Compilers drop types that nobody uses from DWARF, so
// the ones that tools read are anchored here; run() calls forcedwarf, which pulls this object out of the archive.
#include "mgc.h"
#include "proc.h"

namespace vitrine::rt {

// Never set: each is here to force its type into DWARF.
struct dwarfanchors {
  rt::gstatus gstatus;
  rt::pstatus pstatus;
  rt::waitReason waitReason;
  rt::gguard gguard;
  rt::gslab* gslab;
  rt::hchan* hchan;
  rt::sudog* sudog;
  rt::chantype* chantype;
  rt::syncMutex* syncMutex;
  rt::syncMutexState syncMutexState;
  rt::syncRWMutexState syncRWMutexState;
  rt::syncRWMutex* syncRWMutex;
  rt::syncCond* syncCond;
  rt::syncOnce* syncOnce;
  rt::syncSema* syncSema;
  rt::syncWaitGroup* syncWaitGroup;
  rt::taskState* taskState;
  rt::timer* timer;
  rt::timerKind timerKind;
  rt::pollDesc* pollDesc;
  rt::gobuf* gobuf;
  rt::mheap* mheap;
  rt::heapArena* heapArena;
  rt::mspan* mspan;
  rt::mSpanState mSpanState;
  rt::spanOwner spanOwner;
  rt::mcentral* mcentral;
  rt::mcache* mcache;
  rt::_type* type;
  rt::typeKind typeKind;
  rt::treapNode* treapNode;
  rt::special* special;
  rt::specialKind specialKind;
  rt::specialfinalizer* specialfinalizer;
  rt::specialprofile* specialprofile;
  rt::specialdestructor* specialdestructor;
  rt::specialweak* specialweak;
  rt::weakHandle* weakHandle;
  rt::gcPhase gcPhase;
  rt::gcroot* gcroot;
  rt::gcWork* gcWork;
  rt::workbuf* workbuf;
  rt::finblock* finblock;
  rt::wbBuf* wbBuf;
  rt::gcSweepBlock* gcSweepBlock;
  rt::arenaHint* arenaHint;
  rt::metadataBlock* metadataBlock;
  rt::mstats* mstats;
  rt::stackpoolPadded* stackpool;
  rt::stackLargeT* stackLarge;
  rt::arenaIdx arenaIdx;
  rt::spanClass spanClass;
  rt::gcBits gcBits;
  rt::tracet* trace;
  rt::traceBuf* traceBuf;
  rt::traceRecord* traceRecord;
  rt::traceEv traceEv;
};
dwarfanchors unused;

void layoutnote();

void forcedwarf() {
  asm volatile("" : : "r"(&unused), "r"(&waitReasonStrings), "r"(&gslabs), "r"(&layoutnote), "r"(&mheap_));
}

}  // namespace vitrine::rt
