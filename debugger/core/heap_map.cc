// heap_map.cc: see heap_map.h. The page for a browser holds the spans as one array of numbers a span, the texts of
// owners apart, each once; a script draws them on a canvas, so that a million spans stay usable.
#include "heap_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <unordered_map>
#include <unordered_set>

#include "render.h"
#include "span_rows.h"

namespace vitrine::inspect {
namespace {

constexpr PageUseLook kLooks[] = {
    {'o', "small objects", "32", "#4caf50"},   {'l', "large objects", "36", "#2196f3"},
    {'s', "stacks", "33", "#ffb300"},          {'r', "runtime objects", "35", "#ab47bc"},
    {'x', "other", "31", "#e53935"},           {'.', "free", "37", "#9e9e9e"},
    {'_', "free, scavenged", "90", "#cfd8dc"}, {' ', "not handed out yet", "", "#f5f5f5"},
};
static_assert(std::size(kLooks) == static_cast<std::size_t>(PageUse::count));

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || u < 0x20) {
      out += fmt::format("\\u{:04x}", u);
    } else {
      out += c;
    }
  }
  return out;
}

// %LOOKS%, %PAGE%, %ARENAS%, %OWNERS% and %SPANS% are filled in.
constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mheap map</title><style>
body{font:14px system-ui,sans-serif;margin:16px;color:#222;background:#fff}
h1{font-size:18px;margin:0 0 8px}#legend span{display:inline-block;margin:0 14px 6px 0}
#legend i{display:inline-block;width:12px;height:12px;border:1px solid #888;margin-right:5px;vertical-align:-1px}
#bar{margin:6px 0 10px}button{font:inherit;min-width:32px}.arena{margin:0 0 14px}
.arena h2{font:13px ui-monospace,monospace;margin:0 0 4px}canvas{border:1px solid #999;display:block}
#tip{position:fixed;display:none;background:#222;color:#fff;padding:6px 9px;border-radius:4px;pointer-events:none;
font:12px ui-monospace,monospace;white-space:pre;z-index:2}</style></head><body>
<h1>Pages of the heap</h1><div id="legend"></div>
<div id="bar">zoom <button id="out">-</button> <button id="in">+</button> (or Ctrl and the wheel); hover for the span</div>
<div id="map"></div><div id="tip"></div><script>
)";
constexpr std::string_view kTail = R"(
const hex=n=>'0x'+n.toString(16), map=document.getElementById('map'), tip=document.getElementById('tip');
const tally=LOOKS.map(()=>0);let cell=8;const PER=128;
for(const s of SPANS)tally[s[2]]+=s[1];
tally[LOOKS.length-1]=ARENAS.length*PAGES-tally.reduce((a,b)=>a+b,0);
document.getElementById('legend').innerHTML=LOOKS.map((l,i)=>`<span><i style="background:${l[1]}"></i>${l[0]}: ${tally[i]}</span>`).join('');
const seen=new IntersectionObserver(es=>es.forEach(e=>{const v=e.target.view;v.shown=e.isIntersecting;paint(v)}),{rootMargin:'300px'});
const at=new Map(),views=ARENAS.map((base,a)=>{const div=document.createElement('div');div.className='arena';
 const h=document.createElement('h2');h.textContent=`arena ${a}: ${hex(base)}-${hex(base+PAGES*PAGE)}`;
 const c=document.createElement('canvas');div.append(h,c);map.append(div);
 const owner=new Int32Array(PAGES).fill(-1),view={c,owner,shown:false};c.view=view;at.set(base,owner);
 c.onmousemove=e=>{const p=Math.floor(e.offsetY/cell)*PER+Math.floor(e.offsetX/cell),i=owner[p];
  if(!(p>=0&&p<PAGES)){tip.style.display='none';return}
  tip.textContent=hex(base+p*PAGE)+'\n'+(i<0?LOOKS[LOOKS.length-1][0]:about(SPANS[i]));
  tip.style.display='block';tip.style.left=Math.min(e.clientX+14,innerWidth-tip.offsetWidth-8)+'px';
  tip.style.top=Math.min(e.clientY+14,innerHeight-tip.offsetHeight-8)+'px'};
 c.onmouseleave=()=>tip.style.display='none';return view});
SPANS.forEach((s,i)=>{for(let a=s[0]-s[0]%(PAGES*PAGE);a<s[0]+s[1]*PAGE;a+=PAGES*PAGE){const o=at.get(a);if(!o)continue;
 for(let p=Math.max(0,(s[0]-a)/PAGE);p<Math.min(PAGES,(s[0]-a)/PAGE+s[1]);p++)o[p]=i}});
function about(s){let t=`span ${hex(s[0])}, ${s[1]} page${s[1]==1?'':'s'}: ${LOOKS[s[2]][0]}`;
 if(s[3]>=0)t+=`\nclass ${s[3]}, objects of ${s[4]} bytes`;
 if(s[5]>0)t+=`\n${s[6]} of ${s[5]} allocated`;
 if(s[7]>=0)t+='\n'+OWNERS[s[7]];return t}
// Only what can be seen has a picture: each arena's would take some megabytes.
function paint(v){const{c,owner}=v;c.style.width=PER*cell+'px';c.style.height=Math.ceil(PAGES/PER)*cell+'px';
 if(!v.shown){c.width=c.height=0;return}
 c.width=PER*cell;c.height=Math.ceil(PAGES/PER)*cell;const x=c.getContext('2d');
 for(let p=0;p<PAGES;p++){const i=owner[p];x.fillStyle=LOOKS[i<0?LOOKS.length-1:SPANS[i][2]][1];
  const X=p%PER*cell,Y=Math.floor(p/PER)*cell;x.fillRect(X,Y,cell,cell);
  if(cell>3&&i>=0&&(p==0||owner[p-1]!=i)){x.fillStyle='rgba(0,0,0,.55)';x.fillRect(X,Y,1,cell)}}}
function draw(){views.forEach(paint)}
function zoom(by){cell=Math.max(2,Math.min(32,cell+by));draw()}
document.getElementById('in').onclick=()=>zoom(cell<8?1:4);document.getElementById('out').onclick=()=>zoom(cell<=8?-1:-4);
addEventListener('wheel',e=>{if(e.ctrlKey){e.preventDefault();zoom(e.deltaY<0?1:-1)}},{passive:false});
draw();views.forEach(v=>seen.observe(v.c));
</script></body></html>
)";

}  // namespace

const PageUseLook& look_of(PageUse use) { return kLooks[static_cast<std::size_t>(use)]; }

PageUse page_use(const HeapState& heap, const Span& s) {
  switch (heap.kind(s)) {
    case SpanKind::small:
      return PageUse::small;
    case SpanKind::large:
      return PageUse::large;
    case SpanKind::stack_pool:
    case SpanKind::stack_large:
      return PageUse::stack;
    case SpanKind::runtime:
    case SpanKind::runtime_large:
      return PageUse::runtime;
    case SpanKind::free:
      return s.scavenged ? PageUse::scavenged : PageUse::free;
    default:
      return PageUse::other;
  }
}

std::string arena_letters(HeapState& heap, const Arena& arena) {
  const std::uint64_t page = heap.page_size();
  std::string out(heap.arena_bytes() / page, look_of(PageUse::rest).letter);
  auto first = heap.spans().begin(), last = first + static_cast<std::ptrdiff_t>(heap.with_pages());
  auto it = std::upper_bound(first, last, arena.base, [](std::uint64_t a, const Span& s) { return a < s.base; });
  if (it != first) --it;  // one may begin in the arena before
  for (; it != last && (it->base < arena.base || it->base - arena.base < heap.arena_bytes()); ++it) {
    const char letter = look_of(page_use(heap, *it)).letter;
    const std::uint64_t end =
        std::min(it->npages > out.size() * page ? ~std::uint64_t{0} : heap.end(*it), arena.base + heap.arena_bytes());
    for (std::uint64_t at = std::max(it->base, arena.base); at < end; at += page)
      out[(at - arena.base) / page] = at == it->base ? static_cast<char>(std::toupper(letter)) : letter;
  }
  return out;
}

void write_map_page(HeapState& heap, const std::vector<Arena>& arenas,
                    const std::function<void(std::string_view)>& out) {
  out(kHead);
  std::string text = "const LOOKS=[";
  for (const PageUseLook& l : kLooks) text += fmt::format("[\"{}\",\"{}\"],", l.what, l.css);
  text += fmt::format("],PAGE={},PAGES={},ARENAS=[", heap.page_size(), heap.arena_bytes() / heap.page_size());
  for (const Arena& a : arenas) text += fmt::format("{},", a.base);
  text += "],SPANS=[\n";
  std::vector<std::string> owners;
  std::unordered_map<std::string, std::size_t> known;
  std::unordered_set<std::uint64_t> wanted;
  for (const Arena& a : arenas) wanted.insert(a.base);
  auto inside = [&](const Span& s) {
    for (std::uint64_t at : {s.base, heap.end(s) - 1}) {
      if (wanted.count(at / heap.arena_bytes() * heap.arena_bytes())) return true;
    }
    return false;
  };
  for (std::size_t i = 0; i < heap.with_pages(); ++i) {
    const Span& s = heap.spans()[i];
    if (!heap.flaw(s).empty() || !inside(s)) continue;
    std::string owner = heap.owner_text(s);
    auto [it, fresh] = known.emplace(owner, owners.size());
    if (fresh) owners.push_back(owner);
    auto c = class_of(heap, s);
    const bool elems = heap.kind(s) != SpanKind::free;
    text += fmt::format("[{},{},{},{},{},{},{},{}],\n", s.base, s.npages, static_cast<int>(page_use(heap, s)),
                        c ? static_cast<int>(*c) : -1, elems ? s.elemsize : 0, elems ? s.nelems : 0,
                        elems ? s.alloc_count : 0, it->second);
    if (text.size() > 1 << 16) {
      out(text);
      text.clear();
    }
  }
  text += "],OWNERS=[";
  for (const std::string& o : owners) text += fmt::format("\"{}\",", escaped(printable(o)));
  out(text + "];");
  out(kTail);
}

}  // namespace vitrine::inspect
