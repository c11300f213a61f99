"""What the page does in the browser beyond Gradio: keys, paste and drop, looking closer at all pictures at once."""

DRAWING = """async (picture, drawing, ...others) => {
  const { layers } = await window.editor.get_blobs();
  const urls = layers.filter(Boolean).map((blob) => new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(blob);
  }));
  return [picture, (await Promise.all(urls)).join('\\n'), ...others];
}"""
"""Puts what is drawn on the canvas into the second input of an event, for `demo.holes.read_drawing`."""

HEAD = """
<script>
(() => {
  const give = (files) => {
    const picture = [...(files || [])].find((file) => file.type.startsWith('image/'));
    const input = document.querySelector('input[type=file]:has(+ #upload)');
    if (!picture || !input) return false;
    const list = new DataTransfer();
    list.items.add(picture);
    input.files = list.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
    return true;
  };
  const taken = (event) => { event.preventDefault(); event.stopPropagation(); };
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
      event.preventDefault();
      document.getElementById('fill')?.click();
    }
  });
  document.addEventListener('paste', (event) => {
    if (give(event.clipboardData?.files)) taken(event);
  }, true);
  document.addEventListener('dragover', (event) => {
    if (event.dataTransfer?.types.includes('Files')) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (give(event.dataTransfer?.files)) taken(event);
  }, true);

  // The canvas measures its place once while it loads and misses later changes of the layout; this reminds it.
  // Pictures to choose from are called by their titles, not by their numbers.
  let reminders = 40;
  const remind = setInterval(() => {
    const canvas = document.querySelector('#editor canvas');
    const place = canvas?.parentElement;
    if (place && Math.abs(canvas.clientWidth - place.clientWidth) > 1) {
      place.style.width = `${place.clientWidth - 1}px`;
      setTimeout(() => { place.style.width = ''; }, 100);
    }
    document.querySelectorAll('#samples .gallery-item').forEach((item) => {
      const title = item.querySelector('.caption-label')?.textContent.trim();
      if (title) item.querySelector('button')?.setAttribute('aria-label', title);
    });
    if (--reminders === 0) clearInterval(remind);
  }, 250);

  // The canvas takes a layer from the server for one of its own first, empty size, not of the picture's, and puts it
  // that much beside its place. This tells it the picture's size, which it reads before it first waits.
  const amend = (canvas, layers) => {
    const add = layers.add_layer_from_url.bind(layers);
    layers.add_layer_from_url = (url) => {
      const container = layers.image_container;
      container.getLocalBounds = () => ({ x: 0, y: 0, width: canvas.width, height: canvas.height });
      try {
        return add(url);
      } finally {
        delete container.getLocalBounds;
      }
    };
  };
  const whenSet = (holder, name, act) => {
    let value = holder[name];
    Object.defineProperty(holder, name, {
      configurable: true,
      get: () => value,
      set: (made) => {
        value = made;
        if (made) act(made);
      },
    });
    if (value) act(value);
  };
  whenSet(window, 'editor', (canvas) => whenSet(canvas, 'layer_manager', (layers) => amend(canvas, layers)));

  // The button around each picture, by mouse, touch or keyboard, which has no place and means the middle.
  const lookAt = (event) => {
    const button = event.target.closest?.('.panels .picture .image-container > button');
    const panels = button?.closest('.panels');
    if (!panels) return undefined;
    const frame = button.getBoundingClientRect();
    const hasPlace = event.type !== 'click' || event.detail > 0;
    panels.style.setProperty('--at-x', hasPlace ? `${100 * (event.clientX - frame.left) / frame.width}%` : '50%');
    panels.style.setProperty('--at-y', hasPlace ? `${100 * (event.clientY - frame.top) / frame.height}%` : '50%');
    return panels;
  };
  document.addEventListener('pointermove', lookAt);
  document.addEventListener('click', (event) => lookAt(event)?.classList.toggle('magnified'));
})();
</script>
"""
